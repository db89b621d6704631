"""All that an account can have in a region and a platform makes, one thing a line."""
import botocore.session
session = botocore.session.get_session()
def answers(service, call, **arguments):
    client = session.create_client(service)
    if client.can_paginate(call):
        return client.get_paginator(call).paginate(**arguments)
    return [getattr(client, call)(**arguments)]
def stays(thing):
    # AWS makes these once for an account, or a domain, and never removes them: the roles of its own services, and the
    # record by which it knows a domain as somebody's.
    if isinstance(thing, str):
        return False
    records = [record.get("Value", "") for record in thing.get("ResourceRecords", [])]
    of_certificate = any(value.rstrip(".").endswith(".acm-validations.aws") for value in records)
    return thing.get("Path", "").startswith("/aws-service-role/") or of_certificate
def things(service, call, names, **arguments):
    for answer in answers(service, call, **arguments):
        for key, name in names.items():
            for thing in answer.get(key, []):
                if stays(thing):
                    continue
                print(service, key, thing if isinstance(thing, str) else thing[name])
for service, call, names in [
    ("acm", "list_certificates", {"CertificateSummaryList": "CertificateArn"}),
    ("autoscaling", "describe_auto_scaling_groups", {"AutoScalingGroups": "AutoScalingGroupName"}),
    ("cloudwatch", "describe_alarms", {"MetricAlarms": "AlarmName"}),
    ("dynamodb", "list_tables", {"TableNames": ""}),
    ("ec2", "describe_internet_gateways", {"InternetGateways": "InternetGatewayId"}),
    ("ec2", "describe_launch_templates", {"LaunchTemplates": "LaunchTemplateName"}),
    ("ec2", "describe_route_tables", {"RouteTables": "RouteTableId"}),
    ("ec2", "describe_security_groups", {"SecurityGroups": "GroupId"}),
    ("ec2", "describe_subnets", {"Subnets": "SubnetId"}),
    ("ec2", "describe_vpcs", {"Vpcs": "VpcId"}),
    ("elbv2", "describe_load_balancers", {"LoadBalancers": "LoadBalancerName"}),
    ("elbv2", "describe_target_groups", {"TargetGroups": "TargetGroupName"}),
    ("events", "list_rules", {"Rules": "Name"}),
    ("iam", "list_instance_profiles", {"InstanceProfiles": "InstanceProfileName"}),
    ("iam", "list_roles", {"Roles": "RoleName"}),
    ("kms", "list_aliases", {"Aliases": "AliasName"}),
    ("lambda", "list_event_source_mappings", {"EventSourceMappings": "UUID"}),
    ("lambda", "list_functions", {"Functions": "FunctionName"}),
    ("logs", "describe_log_groups", {"logGroups": "logGroupName"}),
    ("s3", "list_buckets", {"Buckets": "Name"}),
    ("sns", "list_subscriptions", {"Subscriptions": "SubscriptionArn"}),
    ("sns", "list_topics", {"Topics": "TopicArn"}),
    ("ssm", "describe_parameters", {"Parameters": "Name"}),
]:
    things(service, call, names)
things("sqs", "list_queues", {"QueueUrls": ""})
things("cloudformation", "describe_stacks", {"Stacks": "StackName"})
for answer in answers("route53", "list_hosted_zones"):
    for zone in answer["HostedZones"]:
        things("route53", "list_resource_record_sets", {"ResourceRecordSets": "Name"}, HostedZoneId=zone["Id"])
