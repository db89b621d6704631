"""What the reactor is compared with: the least that a function of Python with two clients of boto3 does for an event,
one row read and one stack read, under the same Runtime API."""

import http.client
import json
import os

import boto3

rows = boto3.client("dynamodb")
stacks = boto3.client("cloudformation")


def handle(event):
    name = event["Records"][0]["dynamodb"]["Keys"]["Name"]["S"]
    row = rows.get_item(TableName="apps-db", Key={"Name": {"S": name}}, ConsistentRead=True)["Item"]
    stack = stacks.describe_stacks(StackName="demo-app-" + name)["Stacks"][0]
    assert row["Scale"]["N"] == next(
        one["ParameterValue"] for one in stack["Parameters"] if one["ParameterKey"] == "Scale"
    )
    return {"batchItemFailures": []}


runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    runtime.request("GET", "/2018-06-01/runtime/invocation/next")
    response = runtime.getresponse()
    event = json.loads(response.read())
    answer = json.dumps(handle(event))
    request = response.headers["Lambda-Runtime-Aws-Request-Id"]
    runtime.request("POST", f"/2018-06-01/runtime/invocation/{request}/response", answer)
    runtime.getresponse().read()
