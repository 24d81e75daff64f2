{#- Rows that share a key: the columns together must identify a row. NULL counts as a value, or,
    with `not_null`, as a fault: then one reading of the table tests the key as a whole. -#}
{%- test unique_combination_of_columns(model, combination_of_columns, not_null=false) -%}

select
    {{ combination_of_columns | join(', ') }},
    count(*) as records
from {{ model }}
group by {{ combination_of_columns | join(', ') }}
having
    count(*) > 1
    {%- for column in combination_of_columns if not_null %}
    or {{ column }} is null
    {%- endfor %}

{%- endtest -%}
