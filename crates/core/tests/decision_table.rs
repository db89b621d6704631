//! The decision table: one named case per line, and what must hold over the full product of states.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rowhouse_core::{
    Action, Attempt, Base, Because, Commit, Deployment, Desired, Generation, NoCommit, Notes,
    Observed, Outcome, Phase, Pinned, Progress, Report, Row, RowKey, Settings, SettingsDigest,
    Source, Stack, Status, Target, UserAttributes, Wanted, decide, report,
};

fn commit(number: u32) -> Commit {
    Commit::parse(&format!("{number:040x}")).unwrap()
}

fn generation(text: &str) -> Generation {
    Generation::stored(format!("v1-{text}"))
}

fn settings(text: &str) -> Settings {
    Settings { digest: SettingsDigest::of(text), ..Settings::for_tests() }
}

/// The deployment of a wish at a commit under some settings.
fn deployment(wish: &str, number: u32, under: &str) -> Deployment {
    Deployment {
        target: Target::of(&generation(wish), &commit(number), &settings(under).digest),
        generation: generation(wish),
        source: Source::stored(format!("v1-source-{wish}")),
        commit: commit(number),
        settings: settings(under).digest,
    }
}

fn attempt(of: &Deployment) -> Attempt {
    Attempt { target: of.target.clone(), commit: of.commit.clone(), reason: "it exited".to_owned() }
}

fn stack(phase: Phase, running: Option<Deployment>, tried: Option<Attempt>) -> Observed {
    Observed::Ours(Box::new(Stack {
        base: Base::of("stack", "1"),
        phase,
        running,
        tried,
        url: None,
        healthy: 0,
        trouble: None,
    }))
}

fn this() -> Deployment {
    deployment("this", 1, "now")
}

fn other() -> Deployment {
    deployment("other", 2, "now")
}

/// The wish `this`, at commit 1, under the settings `now`.
fn wanted() -> Wanted {
    Wanted {
        generation: generation("this"),
        settings: settings("now").digest,
        commit: Pinned::Known { commit: commit(1), target: this().target },
        refused: false,
        attempted: false,
        unchanged: false,
        may_catch_up: false,
    }
}

fn refused() -> Desired {
    Desired::App(Wanted { refused: true, ..wanted() })
}

fn nothing(why: NoCommit) -> Pinned {
    let target = Target::without_commit(&generation("this"), why, &settings("now").digest);
    Pinned::Nothing { why, target }
}

fn names_nothing() -> Desired {
    Desired::App(Wanted { commit: nothing(NoCommit::NoSuchVersion), ..wanted() })
}

fn denied() -> Desired {
    Desired::App(Wanted { commit: nothing(NoCommit::Denied), ..wanted() })
}

fn app() -> Desired {
    Desired::App(wanted())
}

fn creating(aim: Deployment, cancellable: bool) -> Observed {
    stack(Phase::Creating { aim, cancellable }, None, None)
}

fn updating(aim: Deployment, cancellable: bool) -> Observed {
    stack(Phase::Updating { aim, cancellable }, Some(other()), None)
}

fn stuck(tries: u32) -> Phase {
    Phase::Stuck { tries, reason: "stuck".to_owned() }
}

fn deletion_failed(failures: u32) -> Observed {
    stack(Phase::DeletionFailed { failures, left: "a disk".to_owned() }, None, None)
}

#[track_caller]
fn case(desired: &Desired, observed: &Observed, action: Action, because: Because) {
    let decision = decide(desired, observed);
    assert_eq!((decision.action, decision.because), (action, because));
}

fn row() -> Row {
    Row {
        key: RowKey("shop".into()),
        user: UserAttributes::new(),
        report: Report::default(),
        seq: 1,
    }
}

#[track_caller]
fn says(desired: &Desired, observed: &Observed) -> Option<(Status, Option<String>)> {
    let notes = Notes {
        invalid: Some("`Scale` is 9".to_owned()),
        version: matches!(desired, Desired::App(Wanted { commit: Pinned::Nothing { .. }, .. }))
            .then(|| "there is no such branch".to_owned()),
    };
    let said =
        report(&row(), desired, observed, decide(desired, observed), &Progress::Decided, &notes)?;
    Some((said.status.unwrap(), said.reason))
}

#[test]
fn a_stack_that_is_not_ours_is_left_alone_and_told() {
    let foreign = Observed::Foreign("it has no tag of ours".to_owned());
    for desired in [Desired::Removed, Desired::Absent, Desired::Invalid, app(), refused()] {
        case(&desired, &foreign, Action::Rest, Because::Foreign);
    }
    let (status, reason) = says(&app(), &foreign).unwrap();
    assert_eq!(status, Status::DeployFailed);
    assert!(reason.unwrap().contains("it has no tag of ours"));
}

#[test]
fn a_stack_that_nobody_can_read_any_more_is_left_alone_until_its_row_is_removed() {
    let unreadable = Observed::Unreadable("its record is damaged".to_owned());
    for desired in [Desired::Absent, Desired::Invalid, app(), refused()] {
        case(&desired, &unreadable, Action::Rest, Because::Unreadable);
    }
    let delete = Action::Delete { retain: false };
    case(&Desired::Removed, &unreadable, delete, Because::Unreadable);
    let (status, reason) = says(&app(), &unreadable).unwrap();
    assert_eq!((status, reason.as_deref()), (Status::DeployFailed, Some("its record is damaged")));
}

#[test]
fn a_failed_deletion_is_tried_again_then_with_less_then_told() {
    for desired in [Desired::Removed, Desired::Absent, Desired::Invalid, app()] {
        let delete = |retain| Action::Delete { retain };
        case(&desired, &deletion_failed(1), delete(false), Because::DeletionFailed);
        case(&desired, &deletion_failed(2), delete(true), Because::DeletionFailed);
        case(&desired, &deletion_failed(3), Action::Rest, Because::DeletionGivenUp);
    }
    let (status, reason) = says(&app(), &deletion_failed(3)).unwrap();
    assert_eq!(status, Status::DeployFailed);
    assert!(reason.unwrap().contains("a disk"));
}

#[test]
fn no_row_and_no_stack_is_rest() {
    for desired in [Desired::Removed, Desired::Absent] {
        case(&desired, &Observed::Missing, Action::Rest, Because::NothingThere);
    }
}

#[test]
fn an_orphan_is_left_alone_whatever_it_does() {
    for observed in [
        creating(this(), true),
        creating(this(), false),
        updating(this(), true),
        updating(this(), false),
        stack(Phase::Up, Some(this()), None),
        stack(Phase::RollingBack, Some(this()), None),
        stack(Phase::Deleting, None, None),
        stack(Phase::Broken, None, Some(attempt(&this()))),
        stack(stuck(0), Some(this()), None),
    ] {
        case(&Desired::Absent, &observed, Action::Rest, Because::Orphan);
    }
}

#[test]
fn without_a_row_what_can_be_cancelled_is_and_what_cannot_is_waited_for() {
    let cancel =
        |observed| case(&Desired::Removed, &observed, Action::Cancel, Because::UnwantedCancellable);
    cancel(creating(this(), true));
    cancel(updating(this(), true));
    let wait =
        |observed| case(&Desired::Removed, &observed, Action::Wait, Because::UnwantedInProgress);
    wait(updating(this(), false));
    wait(stack(Phase::RollingBack, Some(this()), None));
    wait(stack(Phase::Deleting, None, None));
}

#[test]
fn without_a_row_everything_else_is_deleted_also_a_half_made_stack() {
    for observed in [
        creating(this(), false),
        stack(Phase::Up, Some(this()), None),
        stack(Phase::Broken, None, Some(attempt(&this()))),
        stack(stuck(0), Some(this()), None),
    ] {
        case(&Desired::Removed, &observed, Action::Delete { retain: false }, Because::Unwanted);
    }
}

#[test]
fn an_invalid_row_changes_nothing() {
    for observed in [
        Observed::Missing,
        creating(this(), true),
        stack(Phase::Up, Some(this()), None),
        stack(Phase::Broken, None, None),
    ] {
        case(&Desired::Invalid, &observed, Action::Rest, Because::Invalid);
        assert_eq!(says(&Desired::Invalid, &observed).unwrap().0, Status::Invalid);
    }
}

#[test]
fn what_nobody_can_look_up_is_waited_for() {
    let unknown = Desired::App(Wanted { commit: Pinned::Unreachable, ..wanted() });
    for observed in
        [Observed::Missing, updating(other(), true), stack(Phase::Up, Some(other()), None)]
    {
        case(&unknown, &observed, Action::Wait, Because::Unresolved);
        assert_eq!(says(&unknown, &observed).unwrap().0, Status::Deploying);
    }
}

#[test]
fn what_is_on_its_way_or_clears_the_way_is_waited_for() {
    for observed in [creating(this(), true), updating(this(), false)] {
        case(&app(), &observed, Action::Wait, Because::OnItsWay);
        assert_eq!(says(&app(), &observed), Some((Status::Deploying, None)));
    }
    for phase in [Phase::Deleting, Phase::RollingBack] {
        case(&app(), &stack(phase, Some(other()), None), Action::Wait, Because::ClearingTheWay);
    }
}

#[test]
fn the_newest_row_wins_over_what_can_be_cancelled() {
    case(&app(), &creating(other(), true), Action::Cancel, Because::Overtaken);
    case(&app(), &updating(other(), true), Action::Cancel, Because::Overtaken);
    case(&app(), &creating(other(), false), Action::Wait, Because::AnotherInProgress);
    case(&app(), &updating(other(), false), Action::Wait, Because::AnotherInProgress);
}

#[test]
fn what_is_missing_is_created_unless_it_was_refused() {
    case(&app(), &Observed::Missing, Action::Create, Because::Absent);
    case(&refused(), &Observed::Missing, Action::Rest, Because::RefusedBefore);
    case(&names_nothing(), &Observed::Missing, Action::Rest, Because::RefusedBefore);
    let said = says(&names_nothing(), &Observed::Missing).unwrap();
    assert_eq!(said, (Status::DeployFailed, Some("there is no such branch".to_owned())));
}

#[test]
fn what_runs_is_deployed() {
    let observed = stack(Phase::Up, Some(this()), Some(attempt(&other())));
    case(&app(), &observed, Action::Rest, Because::Runs);
    assert_eq!(says(&app(), &observed), Some((Status::Deployed, None)));
}

#[test]
fn what_was_tried_or_refused_is_never_tried_again() {
    let tried = stack(Phase::Up, Some(other()), Some(attempt(&this())));
    case(&app(), &tried, Action::Rest, Because::TriedBefore);
    assert_eq!(says(&app(), &tried), Some((Status::DeployFailed, Some("it exited".to_owned()))));
    let up = stack(Phase::Up, Some(other()), None);
    case(&refused(), &up, Action::Rest, Because::TriedBefore);
    case(&names_nothing(), &up, Action::Rest, Because::TriedBefore);
}

#[test]
fn a_repository_that_denies_us_fails_the_deployment_and_costs_nothing_that_runs() {
    let why = Some("there is no such branch".to_owned());
    case(&denied(), &Observed::Missing, Action::Rest, Because::RefusedBefore);
    assert_eq!(says(&denied(), &Observed::Missing), Some((Status::DeployFailed, why.clone())));
    let up = stack(Phase::Up, Some(other()), None);
    case(&denied(), &up, Action::Rest, Because::TriedBefore);
    assert_eq!(says(&denied(), &up), Some((Status::DeployFailed, why)));
}

#[test]
fn new_settings_wait_for_their_turn_and_leave_the_app_deployed_when_they_fail() {
    let lagging = stack(Phase::Up, Some(deployment("this", 1, "before")), None);
    case(&app(), &lagging, Action::Rest, Because::SettingsLag);
    assert_eq!(says(&app(), &lagging), Some((Status::Deployed, None)));
    let turn = Desired::App(Wanted { may_catch_up: true, ..wanted() });
    case(&turn, &lagging, Action::Update, Because::Behind);
    let failed = stack(Phase::Up, Some(deployment("this", 1, "before")), Some(attempt(&this())));
    case(&turn, &failed, Action::Rest, Because::SettingsTriedBefore);
    let (status, reason) = says(&turn, &failed).unwrap();
    assert_eq!(status, Status::Deployed);
    assert!(reason.unwrap().contains("it exited"));
}

#[test]
fn what_is_behind_is_updated() {
    case(&app(), &stack(Phase::Up, Some(other()), None), Action::Update, Because::Behind);
    let tried_another =
        stack(Phase::Up, Some(other()), Some(attempt(&deployment("third", 3, "now"))));
    case(&app(), &tried_another, Action::Update, Because::Behind);
}

#[test]
fn what_never_came_up_rests_or_makes_way() {
    let by = |of: &Deployment| stack(Phase::Broken, None, Some(attempt(of)));
    case(&app(), &by(&this()), Action::Rest, Because::BrokenByThis);
    assert_eq!(says(&app(), &by(&this())).unwrap().0, Status::DeployFailed);
    case(&app(), &by(&other()), Action::Delete { retain: false }, Because::BrokenByAnother);
}

#[test]
fn a_stuck_rollback_is_continued_then_left_until_the_row_is_new() {
    for tries in 0..3 {
        case(
            &app(),
            &stack(stuck(tries), Some(other()), None),
            Action::ContinueRollback,
            Because::Stuck,
        );
    }
    let tried = stack(stuck(3), Some(other()), Some(attempt(&this())));
    case(&app(), &tried, Action::Rest, Because::StuckForGood);
    let (status, reason) = says(&app(), &tried).unwrap();
    assert_eq!(status, Status::DeployFailed);
    assert!(reason.unwrap().contains("the rollback failed: stuck"));
    let new = stack(stuck(3), Some(other()), Some(attempt(&other())));
    case(&app(), &new, Action::Delete { retain: false }, Because::StuckAndReplaced);
}

/// What is said after the platform's answer to the step.
fn says_after(row: &Row, desired: &Desired, observed: &Observed, outcome: Outcome) -> Report {
    let progress = Progress::Performed(outcome);
    let decision = decide(desired, observed);
    report(row, desired, observed, decision, &progress, &Notes::default()).unwrap()
}

#[test]
fn a_refusal_is_told_and_leaves_an_app_deployed_whose_settings_alone_were_refused() {
    let no = || Outcome::Refused { reason: "a quota".to_owned() };
    let said = says_after(&row(), &app(), &Observed::Missing, no());
    assert_eq!(
        (said.status, said.reason.as_deref()),
        (Some(Status::DeployFailed), Some("a quota"))
    );
    assert_eq!(said.target, Some(this().target), "the witness of what was refused");
    let turn = Desired::App(Wanted { may_catch_up: true, ..wanted() });
    let lagging = stack(Phase::Up, Some(deployment("this", 1, "before")), None);
    let said = says_after(&row(), &turn, &lagging, no());
    assert_eq!(said.status, Some(Status::Deployed));
    assert!(said.reason.unwrap().contains("a quota"));
}

#[test]
fn a_step_that_could_not_be_asked_for_is_said_to_be_retried() {
    let lost = Outcome::Unreachable { reason: "the disk is full".to_owned() };
    let said = says_after(&row(), &app(), &Observed::Missing, lost);
    assert_eq!(said.status, Some(Status::Deploying));
    assert_eq!(said.reason.as_deref(), Some("retrying: the disk is full"));
}

#[test]
fn a_refusal_is_not_forgotten_while_the_way_is_cleared_or_nobody_can_look() {
    let report = Report {
        status: Some(Status::DeployFailed),
        reason: Some("a quota".to_owned()),
        generation: Some(wanted().generation),
        target: Some(this().target),
        ..Report::default()
    };
    let row = Row { report, ..row() };
    let unknown = Desired::App(Wanted { commit: Pinned::Unreachable, ..wanted() });
    for (desired, observed) in [
        (refused(), stack(Phase::Deleting, None, None)),
        (refused(), updating(other(), true)),
        (refused(), updating(other(), false)),
        (unknown, stack(Phase::Up, Some(other()), None)),
    ] {
        let decision = decide(&desired, &observed);
        let said = rowhouse_core::report(
            &row,
            &desired,
            &observed,
            decision,
            &Progress::Decided,
            &Notes::default(),
        )
        .unwrap();
        assert_eq!(said.status, Some(Status::DeployFailed), "{observed:?}");
        assert_eq!(said.reason.as_deref(), Some("a quota"), "{observed:?}");
        assert_eq!(said.target, Some(this().target), "{observed:?}");
    }
}

#[test]
fn a_report_speaks_of_the_row_as_it_is_and_of_what_serves() {
    let observed = updating(this(), false);
    let decision = decide(&app(), &observed);
    let said =
        report(&row(), &app(), &observed, decision, &Progress::Decided, &Notes::default()).unwrap();
    assert_eq!(said.generation, Some(Generation::of(&row().user)));
    assert_eq!(said.revision, Some(other().commit), "what is on its way does not serve yet");
    assert_eq!(said.target, Some(this().target));
}

fn all_desired() -> Vec<Desired> {
    let mut all = vec![Desired::Removed, Desired::Absent, Desired::Invalid];
    for commit in [
        wanted().commit,
        Pinned::Known { commit: commit(2), target: other().target },
        nothing(NoCommit::NoSuchVersion),
        nothing(NoCommit::Denied),
        Pinned::Unreachable,
    ] {
        for flags in 0..16 {
            all.push(Desired::App(Wanted {
                commit: commit.clone(),
                refused: flags & 1 > 0,
                attempted: flags & 2 > 0,
                unchanged: flags & 4 > 0,
                may_catch_up: flags & 8 > 0,
                ..wanted()
            }));
        }
    }
    all
}

fn all_observed() -> Vec<Observed> {
    let deployments =
        [this(), other(), deployment("this", 1, "before"), deployment("this", 2, "now")];
    let mut phases = vec![Phase::Up, Phase::RollingBack, Phase::Deleting, Phase::Broken];
    phases.extend((0..5).map(stuck));
    phases.extend((0..5).map(|failures| Phase::DeletionFailed { failures, left: "x".to_owned() }));
    for aim in &deployments {
        for cancellable in [true, false] {
            phases.push(Phase::Creating { aim: aim.clone(), cancellable });
            phases.push(Phase::Updating { aim: aim.clone(), cancellable });
        }
    }
    let mut all = vec![Observed::Missing, Observed::Foreign("theirs".to_owned())];
    all.push(Observed::Unreadable("damaged".to_owned()));
    for phase in &phases {
        for running in [None, Some(0), Some(1), Some(2), Some(3)] {
            for tried in [None, Some(0), Some(1), Some(2)] {
                let running = running.map(|index: usize| deployments[index].clone());
                let tried = tried.map(|index: usize| attempt(&deployments[index]));
                all.push(stack(phase.clone(), running, tried));
            }
        }
    }
    all
}

#[test]
fn over_the_full_product_of_states_nothing_unsafe_is_decided_and_everything_is_answered() {
    let mut count = 0;
    for desired in &all_desired() {
        for observed in &all_observed() {
            count += 1;
            let decision = decide(desired, observed);
            let target = match desired {
                Desired::App(Wanted { commit: Pinned::Known { target, .. }, .. }) => Some(target),
                Desired::App(_) | Desired::Removed | Desired::Absent | Desired::Invalid => None,
            };
            let context = || format!("{desired:?}\n{observed:?}\n{decision:?}");
            let phase = observed.stack().map(|stack| &stack.phase);
            match decision.action {
                Action::Create | Action::Update => {
                    let target = target.unwrap_or_else(|| panic!("{}", context()));
                    let Desired::App(wanted) = desired else { panic!("{}", context()) };
                    assert!(!wanted.refused, "{}", context());
                    assert!(
                        observed.tried().is_none_or(|tried| tried.target != *target),
                        "{}",
                        context()
                    );
                    assert!(
                        observed.running().is_none_or(
                            |running| running.target != *target || phase != Some(&Phase::Up)
                        ),
                        "{}",
                        context()
                    );
                    assert!(!observed.is_in_progress(), "{}", context());
                }
                Action::Delete { .. } => {
                    let removed = *desired == Desired::Removed;
                    assert!(removed || phase != Some(&Phase::Up), "{}", context());
                    let failed = matches!(phase, Some(Phase::DeletionFailed { .. }));
                    assert!(*desired != Desired::Absent || failed, "{}", context());
                    assert!(
                        !matches!(observed, Observed::Missing | Observed::Foreign(_)),
                        "{}",
                        context()
                    );
                }
                Action::Cancel => {
                    assert!(observed.is_in_progress(), "{}", context());
                    assert!(*desired != Desired::Absent, "{}", context());
                }
                Action::ContinueRollback => {
                    assert!(
                        matches!(phase, Some(Phase::Stuck { tries: 0..3, .. })),
                        "{}",
                        context()
                    );
                }
                Action::Rest | Action::Wait => {}
            }
            let said =
                report(&row(), desired, observed, decision, &Progress::Decided, &Notes::default());
            let has_row = !matches!(desired, Desired::Removed | Desired::Absent);
            assert_eq!(said.is_some(), has_row, "{}", context());
            if said.and_then(|said| said.status) == Some(Status::Deployed) {
                let runs = observed.running().is_some_and(|running| {
                    Some(&running.target) == target
                        || running.commit == commit(1)
                        || running.commit == commit(2)
                });
                let only_settings =
                    matches!(decision.because, Because::SettingsLag | Because::SettingsTriedBefore);
                let exactly = observed.running().map(|running| &running.target) == target;
                assert!(runs && (exactly || only_settings), "{}", context());
            }
        }
    }
    println!("{count} combinations");
}
