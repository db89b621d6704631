//! `cargo xtask test-aws`: the whole loop on an account of AWS, by the commands that its users
//! type: install, put an app, ask its URL, change it, scale it, delete it, uninstall, and see that
//! nothing is left. Whatever goes wrong, and Ctrl-C too, ends with the removal of what was made.

mod place;
mod row;
mod wish;

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use place::Place;
use wish::Wish;

/// CloudFormation tells of its rollouts within these bounds, or something is broken.
const ROLLOUT: Duration = Duration::from_mins(20);
/// Public DNS may take as long to know a new name.
const ANSWER: Duration = Duration::from_mins(10);

/// Reads the arguments, asks, and does it.
pub fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let wish = Wish::parse(arguments)?;
    let place = Place::open(&wish)?;
    let before = place.inventory()?;
    // Made by hand, it has the names of ours and no stack.
    let is_taken = |line: &String| {
        ["apps-db", "apps-history", "AppDemoReactorLambda", "CreateElbBackendCertificates"]
            .iter()
            .any(|name| line.ends_with(&format!(" {name}")))
            || line.contains(" demo-app-")
    };
    if place.has_platform()? || before.iter().any(is_taken) {
        bail!(
            "there is a platform in {} already, which this would remove: choose another account or \
             region with \
             `--profile NAME` or `--region REGION`",
            place.name()
        );
    }
    tell(&wish, &place);
    if !wish.yes && !is_wanted()? {
        bail!("nothing was made");
    }
    let began = Instant::now();
    let went = live(&wish, &place);
    if let Err(error) = &went {
        println!(
            "\nit did not go well: {error:#}\nremoving what was made; this cannot be interrupted"
        );
    }
    let removed = place.removed();
    let left: Vec<String> = place.inventory()?.difference(&before).cloned().collect();
    if !left.is_empty() {
        println!("\nthis is there now and was not before:");
        left.iter().for_each(|line| println!("  {line}"));
        println!("`rowhouse aws uninstall --delete-apps` again, or delete it by hand");
    }
    went?;
    removed?;
    anyhow::ensure!(left.is_empty(), "{} things are left", left.len());
    let seconds = began.elapsed().as_secs();
    println!("\nall of it works, and nothing is left in {}; {seconds} s", place.name());
    Ok(())
}

fn tell(wish: &Wish, place: &Place) {
    println!(
        "In {}, this installs the platform for {}, runs one app of one and then two t3.micro \
         instances, and removes \
         all of it again.\nIt takes about half an hour and less than one US dollar: an hour of a \
         load balancer, two \
         public addresses, two instances; the encryption key is paid by the hour until AWS deletes \
         it, after 7 days.",
        place.name(),
        wish.domain
    );
    if place.is_emulator() {
        println!(
            "This is an emulator: no instance boots in it, so the URL of the app is not asked."
        );
    }
}

fn is_wanted() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here: `--yes` says that it is meant");
    }
    print!("Type `yes`: ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// One app's life.
fn live(wish: &Wish, place: &Place) -> anyhow::Result<()> {
    step("install");
    let mut install = vec!["install", "--domain", &wish.domain];
    if let Some(zone) = &wish.hosted_zone {
        install.extend(["--hosted-zone", zone]);
    }
    place.rowhouse(&install)?;

    step("put an app");
    row::put(place, wish, 1, "hello")?;
    let first = deployed(place, wish, 1)?;
    answers(place, wish)?;

    step("change it");
    row::put(place, wish, 1, "hello again")?;
    let second = deployed(place, wish, 1)?;
    anyhow::ensure!(first != second, "the row says `deployed` of the wish before, {first}");
    answers(place, wish)?;

    step("two instances");
    row::put(place, wish, 2, "hello again")?;
    deployed(place, wish, 2)?;
    answers(place, wish)?;

    step("delete it");
    row::delete(place, wish)?;
    place.wait("the stack is gone", ROLLOUT, || Ok(!place.has_app(&wish.name)?))?;

    step("check and remove the platform");
    place.rowhouse(&["doctor"])
}

fn step(what: &str) {
    println!("\n== {what}");
}

/// Waits until the row says that so many instances run; which wish it speaks of.
fn deployed(place: &Place, wish: &Wish, scale: u32) -> anyhow::Result<String> {
    let mut said = String::new();
    let mut generation = String::new();
    place.wait("the app is deployed", ROLLOUT, || {
        let row = row::get(place, wish)?;
        let of = |name: &str| row::text(&row, name).unwrap_or_default();
        let says = format!("{} {}", of("status"), of("Reason"));
        if says != said {
            println!("{:>8} {says}", wish.name);
            said = says;
        }
        match of("status").as_str() {
            "deployed" => {
                generation = of("Generation");
                let healthy = of("Healthy");
                anyhow::ensure!(healthy == scale.to_string(), "{healthy} of {scale} instances");
                Ok(true)
            }
            "deploy_failed" | "invalid" => bail!("the app is {said}"),
            _ => Ok(false),
        }
    })?;
    Ok(generation)
}

/// Waits until the URL in the row answers.
fn answers(place: &Place, wish: &Wish) -> anyhow::Result<()> {
    if place.is_emulator() {
        return Ok(());
    }
    let url = row::text(&row::get(place, wish)?, "LoadBalancer").context("the row has no URL")?;
    place.wait(&format!("{url} answers"), ANSWER, || place.is_found(&url))?;
    println!("{:>8} {url} answers", wish.name);
    Ok(())
}
