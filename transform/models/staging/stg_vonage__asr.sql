-- Generated from tap_vonage_reports/schemas/asr.json by `python -m tests.transform.staging`.
{{ config(enabled = 'asr' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'call_id': 'text',
    'direction': 'text',
    'from': 'text',
    'to': 'text',
    'call_date_start': 'timestamp',
    'date_start': 'timestamp',
    'date_end': 'timestamp',
    'duration': 'integer',
    'status': 'text',
    'status_description': 'text',
    'currency': 'text',
    'price': 'money',
    'total_price': 'money',
    'asr_type': 'text',
    'id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('asr', 'id', columns) }}
