-- Generated from tap_vonage_reports/schemas/reports_usage.json by `python -m tests.transform.staging`.
{{ config(enabled = 'reports_usage' in var('vonage_streams')) }}

{% set columns = {
    'acc': 'text',
    'product_type': 'text',
    'date_received': 'timestamp',
    'date_started': 'timestamp',
    'date_finished': 'timestamp',
    'status': 'text',
    'account_id': 'text',
    'master_account_id': 'text',
    'is_charged': 'boolean',
    'request_params': 'object',
    'job_type': 'text',
    'requested_product': 'text',
    'items_written': 'integer',
    'price': 'money',
    'currency': 'text',
    'total_price': 'money',
    'id': 'text',
    'tier_volume': 'text',
    '_extra': 'object'
} %}

{{ vonage_reports.current_rows('reports_usage', 'id', columns) }}
