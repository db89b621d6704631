//! `rowhouse logs`: what the instances and builds of an app have printed, in order of time.

use crate::client::{Client, News, PrintedLine};
use crate::failure::Exit;
use crate::output;
use crate::output::clean;
use crate::rows::args::Logs;
use crate::rows::wait::{follow_pause, until_interrupted};
use crate::rows::{names, row_text};

pub(crate) async fn logs(client: &impl Client, logs: &Logs) -> anyhow::Result<Exit> {
    if logs.follow {
        return until_interrupted(read(client, logs)).await;
    }
    read(client, logs).await
}

async fn read(client: &impl Client, logs: &Logs) -> anyhow::Result<Exit> {
    let name = names::known(client, &logs.name)?;
    let row = client.get(&name.key()).await?.map(|stored| stored.row);
    let mut feed = client.lines(&name, logs.lines).await?;
    if row.is_none() && feed.is_none() {
        return Err(names::no_such_app(client, &logs.name).await?);
    }
    let mut lines = news(feed.as_mut()).await?;
    if lines.is_empty() && !logs.follow {
        output::note(&format!("`{name}` has printed nothing yet"));
        if let Some(why) = row.as_ref().and_then(row_text::why) {
            output::note(&why);
        }
    }
    loop {
        lines.iter().for_each(tell);
        if !logs.follow {
            return Ok(Exit::Done);
        }
        follow_pause(client).await;
        if feed.is_none() {
            feed = client.lines(&name, logs.lines).await?;
        }
        lines = news(feed.as_mut()).await?;
    }
}

async fn news(
    feed: Option<&mut impl News<Item = PrintedLine>>,
) -> anyhow::Result<Vec<PrintedLine>> {
    match feed {
        Some(feed) => feed.news().await,
        None => Ok(Vec::new()),
    }
}

fn tell(line: &PrintedLine) {
    output::line(&format!("{}  {}  {}", clean(&line.at), clean(&line.source), clean(&line.text)));
}
