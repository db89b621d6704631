//! The SDK's types and plain values: what it answered, and what it is to send.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types as cfn;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use rowhouse_core::Unreachable;

use crate::event::Event;
use crate::stack::{Described, MANAGED_BY};
use crate::status::StackStatus;
use crate::template::Parameter;

/// A parameter of a template.
pub(crate) fn parameter((name, value): Parameter) -> cfn::Parameter {
    cfn::Parameter::builder().parameter_key(name).parameter_value(value).build()
}

/// A tag of a stack.
pub(crate) fn tag(key: &str, value: &str) -> cfn::Tag {
    cfn::Tag::builder().key(key).value(value).build()
}

/// Whether a stack has our tag.
pub(crate) fn is_ours(stack: &cfn::Stack) -> bool {
    let (key, value) = MANAGED_BY;
    stack.tags().iter().any(|tag| tag.key() == Some(key) && tag.value() == Some(value))
}

/// A stack.
pub(crate) fn described(stack: &cfn::Stack) -> Result<Described, Unreachable> {
    let id = stack.stack_id().unwrap_or_default().to_owned();
    let word = stack.stack_status().map_or("", cfn::StackStatus::as_str);
    let status = StackStatus::parse(word).ok_or_else(|| Unreachable {
        reason: format!("stack `{id}` has the status `{word}`, which this version does not know"),
    })?;
    let pairs = |pairs: Vec<(Option<&str>, Option<&str>)>| -> BTreeMap<String, String> {
        pairs
            .into_iter()
            .filter_map(|(key, value)| Some((key?.to_owned(), value?.to_owned())))
            .collect()
    };
    let began = stack.last_updated_time().or(stack.creation_time());
    Ok(Described {
        name: stack.stack_name().unwrap_or_default().to_owned(),
        status,
        status_reason: stack.stack_status_reason().map(str::to_owned),
        created: stack.creation_time().map(time).unwrap_or_default(),
        updated: stack.last_updated_time().map(time),
        deleted: stack.deletion_time().map(time),
        began: began.map_or(0, DateTime::secs),
        parameters: pairs(
            stack
                .parameters()
                .iter()
                .map(|pair| (pair.parameter_key(), pair.parameter_value()))
                .collect(),
        ),
        outputs: pairs(
            stack.outputs().iter().map(|pair| (pair.output_key(), pair.output_value())).collect(),
        ),
        tags: pairs(stack.tags().iter().map(|pair| (pair.key(), pair.value())).collect()),
        id,
    })
}

fn time(time: &DateTime) -> String {
    // A time without a text form has its seconds all the same.
    time.fmt(Format::DateTime).unwrap_or_else(|_| time.secs().to_string())
}

/// An event of a stack.
pub(crate) fn event(event: &cfn::StackEvent) -> Event {
    let is_of_stack = event.resource_type() == Some("AWS::CloudFormation::Stack")
        && event.physical_resource_id() == Some(event.stack_id().unwrap_or_default());
    Event {
        logical_id: event.logical_resource_id().unwrap_or_default().to_owned(),
        resource_type: event.resource_type().unwrap_or_default().to_owned(),
        is_of_stack,
        status: event.resource_status().map_or("", cfn::ResourceStatus::as_str).to_owned(),
        reason: event
            .resource_status_reason()
            .filter(|reason| !reason.is_empty())
            .map(str::to_owned),
        token: event.client_request_token().map(str::to_owned),
        at: event.timestamp().map_or(0, DateTime::secs),
    }
}
