{#- Tests without arguments, because dbt 1.9 and dbt 2 write arguments differently. -#}
{% test is_status_class(model, column_name) %}
select {{ column_name }} from {{ model }}
where {{ column_name }} not in ('succeeded', 'failed', 'pending', 'received', 'unknown')
{% endtest %}

{% test is_direction(model, column_name) %}
select {{ column_name }} from {{ model }}
where {{ column_name }} not in ('inbound', 'outbound')
{% endtest %}

{% test is_metric(model, column_name) %}
select {{ column_name }} from {{ model }}
where {{ column_name }} not in ('records', 'price')
{% endtest %}
