-- Generated from tap_vonage_reports/schemas/sms_traffic_control.json by `python -m tests.transform.staging`.
{{ config(enabled = 'sms_traffic_control' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'queued_time': 'timestamp',
    'message_id': 'text',
    'status': 'text',
    'queue_duration': 'integer',
    'id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('sms_traffic_control', 'id', columns) }}
