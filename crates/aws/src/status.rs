//! The 23 statuses of a CloudFormation stack, and what each means to the rule.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html>

/// A stack's status, as the API spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackStatus {
    ReviewInProgress,
    CreateInProgress,
    CreateComplete,
    CreateFailed,
    RollbackInProgress,
    RollbackComplete,
    RollbackFailed,
    UpdateInProgress,
    UpdateCompleteCleanupInProgress,
    UpdateComplete,
    UpdateFailed,
    UpdateRollbackInProgress,
    UpdateRollbackCompleteCleanupInProgress,
    UpdateRollbackComplete,
    UpdateRollbackFailed,
    DeleteInProgress,
    DeleteFailed,
    DeleteComplete,
    ImportInProgress,
    ImportComplete,
    ImportRollbackInProgress,
    ImportRollbackFailed,
    ImportRollbackComplete,
}

/// What a status says of a stack's life; the details come from the stack itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// At rest, and what `Outputs` say runs.
    Up,
    Creating,
    Updating,
    /// An update that is done but for removing what it replaced: it can be neither cancelled nor
    /// joined.
    CleaningUp,
    RollingBack,
    Deleting,
    DeletionFailed,
    /// At rest, and never came up: only a deletion leads on.
    Broken,
    /// A rollback failed, and can be continued.
    Stuck,
    /// At rest where only a deletion leads on, though something may serve.
    Lost,
    Gone,
}

impl StackStatus {
    /// All of them.
    pub const ALL: [StackStatus; 23] = [
        StackStatus::ReviewInProgress,
        StackStatus::CreateInProgress,
        StackStatus::CreateComplete,
        StackStatus::CreateFailed,
        StackStatus::RollbackInProgress,
        StackStatus::RollbackComplete,
        StackStatus::RollbackFailed,
        StackStatus::UpdateInProgress,
        StackStatus::UpdateCompleteCleanupInProgress,
        StackStatus::UpdateComplete,
        StackStatus::UpdateFailed,
        StackStatus::UpdateRollbackInProgress,
        StackStatus::UpdateRollbackCompleteCleanupInProgress,
        StackStatus::UpdateRollbackComplete,
        StackStatus::UpdateRollbackFailed,
        StackStatus::DeleteInProgress,
        StackStatus::DeleteFailed,
        StackStatus::DeleteComplete,
        StackStatus::ImportInProgress,
        StackStatus::ImportComplete,
        StackStatus::ImportRollbackInProgress,
        StackStatus::ImportRollbackFailed,
        StackStatus::ImportRollbackComplete,
    ];

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            StackStatus::ReviewInProgress => "REVIEW_IN_PROGRESS",
            StackStatus::CreateInProgress => "CREATE_IN_PROGRESS",
            StackStatus::CreateComplete => "CREATE_COMPLETE",
            StackStatus::CreateFailed => "CREATE_FAILED",
            StackStatus::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
            StackStatus::RollbackComplete => "ROLLBACK_COMPLETE",
            StackStatus::RollbackFailed => "ROLLBACK_FAILED",
            StackStatus::UpdateInProgress => "UPDATE_IN_PROGRESS",
            StackStatus::UpdateCompleteCleanupInProgress => "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
            StackStatus::UpdateComplete => "UPDATE_COMPLETE",
            StackStatus::UpdateFailed => "UPDATE_FAILED",
            StackStatus::UpdateRollbackInProgress => "UPDATE_ROLLBACK_IN_PROGRESS",
            StackStatus::UpdateRollbackCompleteCleanupInProgress => {
                "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"
            }
            StackStatus::UpdateRollbackComplete => "UPDATE_ROLLBACK_COMPLETE",
            StackStatus::UpdateRollbackFailed => "UPDATE_ROLLBACK_FAILED",
            StackStatus::DeleteInProgress => "DELETE_IN_PROGRESS",
            StackStatus::DeleteFailed => "DELETE_FAILED",
            StackStatus::DeleteComplete => "DELETE_COMPLETE",
            StackStatus::ImportInProgress => "IMPORT_IN_PROGRESS",
            StackStatus::ImportComplete => "IMPORT_COMPLETE",
            StackStatus::ImportRollbackInProgress => "IMPORT_ROLLBACK_IN_PROGRESS",
            StackStatus::ImportRollbackFailed => "IMPORT_ROLLBACK_FAILED",
            StackStatus::ImportRollbackComplete => "IMPORT_ROLLBACK_COMPLETE",
        }
    }

    /// Reads the word; `None`: AWS has a status that this program does not know.
    pub fn parse(text: &str) -> Option<StackStatus> {
        StackStatus::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// What it means to the rule.
    pub fn life(self) -> Life {
        match self {
            StackStatus::CreateInProgress => Life::Creating,
            StackStatus::UpdateInProgress => Life::Updating,
            StackStatus::UpdateCompleteCleanupInProgress => Life::CleaningUp,
            StackStatus::CreateComplete
            | StackStatus::UpdateComplete
            | StackStatus::UpdateRollbackComplete
            | StackStatus::ImportComplete
            | StackStatus::ImportRollbackComplete => Life::Up,
            // An import is an operator's, and ends by itself.
            StackStatus::RollbackInProgress
            | StackStatus::UpdateRollbackInProgress
            | StackStatus::UpdateRollbackCompleteCleanupInProgress
            | StackStatus::ImportInProgress
            | StackStatus::ImportRollbackInProgress => Life::RollingBack,
            // A change set that was never executed leaves a stack without resources.
            StackStatus::ReviewInProgress
            | StackStatus::CreateFailed
            | StackStatus::RollbackComplete
            | StackStatus::RollbackFailed => Life::Broken,
            // An update that an operator made without rollback is rolled back by us.
            StackStatus::UpdateFailed | StackStatus::UpdateRollbackFailed => Life::Stuck,
            StackStatus::ImportRollbackFailed => Life::Lost,
            StackStatus::DeleteInProgress => Life::Deleting,
            StackStatus::DeleteFailed => Life::DeletionFailed,
            StackStatus::DeleteComplete => Life::Gone,
        }
    }

    /// Whether the stack rests after something failed, so that only its events tell what.
    pub fn has_failed(self) -> bool {
        match self {
            StackStatus::CreateFailed
            | StackStatus::RollbackComplete
            | StackStatus::RollbackFailed
            | StackStatus::UpdateFailed
            | StackStatus::UpdateRollbackComplete
            | StackStatus::UpdateRollbackFailed
            | StackStatus::DeleteFailed
            | StackStatus::ImportRollbackFailed => true,
            StackStatus::ReviewInProgress
            | StackStatus::CreateInProgress
            | StackStatus::CreateComplete
            | StackStatus::RollbackInProgress
            | StackStatus::UpdateInProgress
            | StackStatus::UpdateCompleteCleanupInProgress
            | StackStatus::UpdateComplete
            | StackStatus::UpdateRollbackInProgress
            | StackStatus::UpdateRollbackCompleteCleanupInProgress
            | StackStatus::DeleteInProgress
            | StackStatus::DeleteComplete
            | StackStatus::ImportInProgress
            | StackStatus::ImportComplete
            | StackStatus::ImportRollbackInProgress
            | StackStatus::ImportRollbackComplete => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_and_no_other() {
        for status in StackStatus::ALL {
            assert_eq!(StackStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!(StackStatus::parse("CREATE_COMPLETED"), None);
        assert_eq!(StackStatus::parse(""), None);
    }

    #[test]
    fn what_is_in_progress_says_so_and_nothing_else_does() {
        for status in StackStatus::ALL {
            let in_progress = match status.life() {
                Life::Creating
                | Life::Updating
                | Life::CleaningUp
                | Life::RollingBack
                | Life::Deleting => true,
                Life::Up
                | Life::DeletionFailed
                | Life::Broken
                | Life::Stuck
                | Life::Lost
                | Life::Gone => false,
            };
            let says = status.as_str().ends_with("IN_PROGRESS");
            assert_eq!(in_progress, says && status != StackStatus::ReviewInProgress, "{status:?}");
        }
    }
}
