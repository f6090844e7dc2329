-- Generated from tap_vonage_reports/schemas/video_api.json by `python -m tests.transform.staging`.
{{ config(enabled = 'video_api' in var('vonage_streams')) }}

{% set columns = {
    'account_id': 'text',
    'feature_name': 'text',
    'session_id': 'text',
    'meeting_id': 'text',
    'subscriber_id': 'text',
    'archive_id': 'text',
    'broadcast_id': 'text',
    'hls_id': 'text',
    'composer_id': 'text',
    'application_id': 'text',
    'duration': 'integer',
    'date_start': 'timestamp',
    'date_end': 'timestamp',
    'total_price': 'money',
    'currency': 'text',
    'id': 'text',
    'tier_volume': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('video_api', 'id', columns) }}
