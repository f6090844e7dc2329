-- Generated from tap_vonage_reports/schemas/amd.json by `python -m tests.transform.staging`.
{{ config(enabled = 'amd' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'start_time': 'timestamp',
    'end_time': 'timestamp',
    'amd_result_sent': 'boolean',
    'amd_detection_result': 'text',
    'amd_beep_detection_result': 'boolean',
    'amd_user_defined_beep_timeout': 'integer',
    'amd_user_defined_behavior': 'text',
    'amd_user_defined_mode': 'text',
    'total_price': 'money',
    'currency': 'text',
    'call_id': 'text',
    'id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('amd', 'id', columns) }}
