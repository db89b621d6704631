//! The commands of docs/aws-by-hand.md make a platform.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../aws/tests/emulator/mod.rs"]
mod emulator;
mod room;

use emulator::until;
use room::{Room, texts};

const GUIDE: &str = include_str!("../../../docs/aws-by-hand.md");
const APP: &str = include_str!("../../../templates/app-dedicated.yaml");

/// What stands in the guide's `sh` blocks.
fn commands() -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in GUIDE.lines() {
        match (line, inside) {
            ("```sh", false) => inside = true,
            ("```", true) => inside = false,
            (line, true) => script.extend([line, "\n"]),
            (_, false) => {}
        }
    }
    script
}

/// A template for apps that the emulator can make, which knows no classic load balancers: it lies
/// beside the reactor's program as an operator's own.
fn template() -> String {
    let parameters = APP.split("\nConditions:\n").next().unwrap();
    let outputs = APP.split("\nOutputs:\n").nth(1).unwrap();
    format!(
        "{parameters}\n\nResources:\n  Running:\n    Type: AWS::SSM::Parameter\n    Properties: \
         {{Name: \
         !Sub '/running/${{AppName}}', Type: String, Value: !Ref Target}}\n\nOutputs:\n{outputs}"
    )
}

#[tokio::test]
async fn the_commands_of_the_guide_make_a_platform_that_deploys_an_app() {
    let room = Room::new().await;
    std::fs::write(room.path("template.yaml"), template()).unwrap();
    let commit = "a".repeat(40);
    let package = "rowhouse aws package --out package --arch x86_64 --config config.json\n";
    let script = commands();
    assert!(script.contains(package));
    let script = script.replace(
        package,
        &format!(
            "{package}python3 -c \"import zipfile; \
             zipfile.ZipFile('package/AppDemoReactorLambda.zip', 'a')\
             .write('template.yaml')\"\n"
        ),
    );
    let script = script
        .replace("\"Version\":{\"S\":\"main\"}", &format!("\"Version\":{{\"S\":\"{commit}\"}}"));
    let printed = room.shell(&script);
    assert!(printed.contains("AppDemoReactorLambda.zip"), "{printed}");
    until("the app is deployed", async || {
        room.sweep();
        let row = room.shell(
            "aws dynamodb get-item --table-name apps-db --key '{\"Name\":{\"S\":\"hello\"}}'",
        );
        (row.contains("\"deployed\"") && row.contains("https://hello.apps.example.com"))
            .then_some(())
    })
    .await;
    let policies =
        room.shell("aws iam list-attached-role-policies --role-name AppDemoReactorLambda");
    assert!(policies.contains(":policy/AppDemoReactorLambda\""), "{policies}");
    let healthy = room.done(&["doctor"]);
    assert!(healthy.contains("made by hand"), "{healthy}");

    // A key that is missing is named, by the function that nobody could start.
    room.shell(
        "grep -v AppsDomainSSL config.json > less.json\n\
         cp package/AppDemoReactorLambda.zip broken.zip\n\
         python3 - <<'END'\n\
         import zipfile\n\
         old = zipfile.ZipFile('package/AppDemoReactorLambda.zip')\n\
         new = zipfile.ZipFile('broken.zip', 'w', zipfile.ZIP_DEFLATED)\n\
         for info in old.infolist():\n\
         \u{20}   data = old.read(info)\n\
         \u{20}   new.writestr(info, open('less.json').read() if info.filename == 'config.json' \
         else data)\n\
         new.close()\n\
         END\n\
         aws lambda update-function-code --function-name AppDemoReactorLambda --zip-file \
         fileb://broken.zip",
    );
    let doctor = room.aws(&["doctor"]);
    let (printed, said) = texts(&doctor);
    assert_eq!(doctor.status.code(), Some(1), "{printed}{said}");
    assert!(printed.contains("missing field `AppsDomainSSLCertificate`"), "{printed}");
    let refused = room.aws(&["package", "--out", "other", "--config", "less.json"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(texts(&refused).1.contains("missing field `AppsDomainSSLCertificate`"));
}
