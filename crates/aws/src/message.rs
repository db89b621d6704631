//! The text that CloudFormation publishes to SNS for every event of a stack: which stack it is
//! about, and whether it is about the stack itself. Nothing else is read from it.
//!
//! The text has a line `Key='value'` for each field, and escapes nothing: values hold quotes,
//! newlines and what users wrote. A field begins at the start of a line with a known name; the
//! first one of a name counts.

/// The fields of the message. Where one begins, the one before ends.
const FIELDS: [&str; 13] = [
    "StackId",
    "Timestamp",
    "EventId",
    "LogicalResourceId",
    "Namespace",
    "PhysicalResourceId",
    "PrincipalId",
    "ResourceProperties",
    "ResourceStatus",
    "ResourceStatusReason",
    "ResourceType",
    "StackName",
    "ClientRequestToken",
];

/// The stack that a message is about, by its ARN alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) stack_name: String,
    /// Whether the event is the stack's own, not one of its resources'.
    pub(crate) is_of_stack: bool,
}

/// Reads a message; `None`: it is none of CloudFormation's.
pub(crate) fn parse(text: &str) -> Option<Message> {
    let stack_id = field(text, "StackId")?;
    let stack_name = stack_name(stack_id)?.to_owned();
    // Emulators leave the physical id out; logical ids of resources have no dash, names of our
    // stacks do.
    let is_of_stack = match field(text, "PhysicalResourceId") {
        Some(physical) => physical == stack_id,
        None => {
            field(text, "ResourceType") == Some("AWS::CloudFormation::Stack")
                && field(text, "LogicalResourceId") == Some(stack_name.as_str())
        }
    };
    Some(Message { stack_name, is_of_stack })
}

/// `arn:PARTITION:cloudformation:REGION:ACCOUNT:stack/NAME/ID`
fn stack_name(arn: &str) -> Option<&str> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, "cloudformation", _, _, resource] = parts.as_slice() else { return None };
    let mut resource = resource.split('/');
    let (Some("stack"), Some(name), Some(_)) = (resource.next(), resource.next(), resource.next())
    else {
        return None;
    };
    Some(name)
}

/// The value of the first field of that name; absent, empty and `null` are alike.
fn field<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    let mut starts = line_starts(text).filter_map(|at| Some((at, name_at(&text[at..])?)));
    let (at, name) = starts.find(|(_, name)| *name == wanted)?;
    let value_at = at + name.len() + 2;
    let end = starts.next().map_or(text.len(), |(next, _)| next);
    let value = text[value_at..end].trim_end_matches('\n');
    let value = value.strip_suffix('\'').unwrap_or(value);
    (!matches!(value, "" | "null" | "None")).then_some(value)
}

fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1))
}

/// The name of the field that begins here, if one does.
fn name_at(line: &str) -> Option<&'static str> {
    FIELDS
        .into_iter()
        .find(|name| line.strip_prefix(name).is_some_and(|rest| rest.starts_with("='")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "arn:aws:cloudformation:eu-west-1:111122223333:stack/demo-app-foo/0f2c";

    fn message(physical: &str, reason: &str) -> String {
        format!(
            "StackId='{ID}'\nTimestamp='2021-08-26T15:08:55.159Z'\nEventId='5b0e'\n\
             LogicalResourceId='demo-app-foo'\nNamespace='111122223333'\n\
             PhysicalResourceId='{physical}'\n\
             PrincipalId='AROA:session'\nResourceProperties='null'\n\
             ResourceStatus='ROLLBACK_COMPLETE'\n\
             ResourceStatusReason='{reason}'\nResourceType='AWS::CloudFormation::Stack'\n\
             StackName='demo-app-foo'\nClientRequestToken='null'\n"
        )
    }

    fn check(text: &str, is_of_stack: bool) {
        let expected = Message { stack_name: "demo-app-foo".to_owned(), is_of_stack };
        assert_eq!(parse(text), Some(expected), "{text}");
    }

    #[test]
    fn an_event_of_the_stack_is_told_from_one_of_a_resource() {
        check(&message(ID, ""), true);
        check(&message("i-0123", ""), false);
        check(
            &message("", "")
                .replace("LogicalResourceId='demo-app-foo'", "LogicalResourceId='Group'"),
            false,
        );
    }

    #[test]
    fn text_of_users_cannot_name_another_stack() {
        let other = "arn:aws:cloudformation:eu-west-1:111122223333:stack/demo-app-bar/1";
        for reason in [
            "Parameter 'Version' can't be empty",
            "x' ResourceStatus='CREATE_COMPLETE' y",
            &format!("x'\nStackId='{other}'\nStackName='demo-app-bar"),
            &format!("\nPhysicalResourceId='{other}'"),
        ] {
            check(&message(ID, reason), true);
            check(&message("i-0123", reason), false);
        }
    }

    #[test]
    fn the_order_of_fields_and_what_emulators_leave_out_do_not_matter() {
        check(
            &format!("StackName='demo-app-foo'\nStackId='{ID}'\nPhysicalResourceId='{ID}'\n"),
            true,
        );
        check(
            &format!(
                "StackId='{ID}'\nLogicalResourceId='demo-app-foo'\nResourceProperties='None'\n\
                 ResourceStatus='CREATE_COMPLETE'\nResourceType='AWS::CloudFormation::Stack'\n\
                 StackName='demo-app-foo'\nClientRequestToken='None'"
            ),
            true,
        );
        // The newline of the properties may be inside the quotes.
        check(
            &format!(
                "StackId='{ID}'\nResourceProperties='{{\"a\":\"b\"}}\n'\nPhysicalResourceId='x'\n"
            ),
            false,
        );
    }

    #[test]
    fn anything_else_is_no_message() {
        for text in [
            "",
            "hello",
            "StackName='demo-app-foo'\n",
            "StackId='demo-app-foo'\n",
            "StackId='arn:aws:sns:eu-west-1:1:stack/demo-app-foo/1'\n",
            "StackId='arn:aws:cloudformation:eu-west-1:1:changeSet/demo-app-foo/1'\n",
            " StackId='arn:aws:cloudformation:eu-west-1:1:stack/demo-app-foo/1'\n",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
