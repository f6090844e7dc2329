-- Generated from tap_vonage_reports/schemas/verify_api.json by `python -m tests.transform.staging`.
{{ config(enabled = 'verify_api' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'request_id': 'text',
    'from': 'text',
    'to': 'text',
    'locale': 'text',
    'number_type': 'text',
    'network': 'text',
    'network_name': 'text',
    'country': 'text',
    'country_name': 'text',
    'date_received': 'timestamp',
    'date_finalized': 'timestamp',
    'first_event_date': 'timestamp',
    'last_event_date': 'timestamp',
    'status': 'text',
    'sms_event_count': 'integer',
    'tts_event_count': 'integer',
    'currency': 'text',
    'pricing_model': 'text',
    'price': 'money',
    'estimated_price': 'money',
    'sms_price': 'money',
    'tts_price': 'money',
    'id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('verify_api', 'id', columns) }}
