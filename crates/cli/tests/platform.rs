//! The machine platform keeps the contract of the port, with real builds and processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use house::House as Room;
use rowhouse_core::testing::{Kind, PlatformDriver, platform_contract};
use rowhouse_core::{AppName, Commit, Platform};
use rowhouse_machine::config::{Apartness, Config};
use rowhouse_machine::limits::allowance::Allowed;
use rowhouse_machine::limits::probe::Offered;
use rowhouse_machine::up::House;

struct Driver<'a, P> {
    platform: &'a P,
    repository: PathBuf,
    versions: Vec<(Kind, Commit)>,
}

impl<P: Platform> PlatformDriver for Driver<'_, P> {
    fn version(&self, kind: Kind) -> (String, Commit) {
        let (_, commit) = self.versions.iter().find(|(known, _)| *known == kind).unwrap();
        (self.repository.display().to_string(), commit.clone())
    }

    async fn quiet(&self, name: &AppName) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.platform.observe(name).await.unwrap().is_in_progress() {
            assert!(Instant::now() < deadline, "it does not come to rest");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn the_machine_keeps_the_contract_of_a_platform() {
    let room = Room::new(&[]);
    let repository = room.repository("app");
    let versions = vec![
        (Kind::Good(0), repository.web("good")),
        (Kind::Good(1), repository.web("better")),
        (Kind::Bad, repository.procfile("bad", "web: exit 3\n")),
        (Kind::Hanging, repository.procfile("hanging", "web: sleep 1000\n")),
    ];
    let versions = versions
        .into_iter()
        .map(|(kind, commit)| (kind, Commit::parse(&commit).unwrap()))
        .collect();
    let config = Config {
        data: room.data(),
        listen: ([127, 0, 0, 1], 0).into(),
        domain: "localhost".to_owned(),
        only: None,
        supply: None,
        repository: None,
        path: None,
        max_scale: 3,
        build_timeout: Duration::from_mins(1),
        drain: Duration::from_secs(5),
        stop_grace: Duration::from_secs(2),
        steady: Duration::ZERO,
        connections_per_client: None,
        program: house::PROGRAM.into(),
        apart: Apartness::Enforced,
        uids: None,
        shared: Vec::new(),
        allowed: Allowed::default(),
        limited_by: Offered::All,
        failpoint: None,
    };
    let platform = House::open(config, None).await.unwrap().platform();
    let driver = Driver { platform: &platform, repository: repository.path.clone(), versions };
    platform_contract(&platform, &driver).await;
}
