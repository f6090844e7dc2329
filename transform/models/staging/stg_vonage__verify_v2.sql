-- Generated from tap_vonage_reports/schemas/verify_v2.json by `python -m tests.transform.staging`.
{{ config(enabled = 'verify_v2' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'request_id': 'text',
    'parent_request_id': 'text',
    'channel': 'text',
    'to': 'text',
    'locale': 'text',
    'network': 'text',
    'network_name': 'text',
    'country': 'text',
    'status': 'text',
    'client_ref': 'text',
    'date_received': 'timestamp',
    'sms_event_count': 'integer',
    'tts_event_count': 'integer',
    'whatsapp_event_count': 'integer',
    'email_event_count': 'integer',
    'silentauth_event_count': 'integer',
    'rcs_event_count': 'integer',
    'if_fraud_check': 'boolean',
    'pin_length': 'integer',
    'currency': 'text',
    'total_price': 'money',
    'id': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('verify_v2', 'id', columns) }}
