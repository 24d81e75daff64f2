{#- Rows that share a key: the columns together must identify a row. NULL counts as a value. -#}
{%- test unique_combination_of_columns(model, combination_of_columns) -%}

select
    {{ combination_of_columns | join(', ') }},
    count(*) as records
from {{ model }}
group by {{ combination_of_columns | join(', ') }}
having count(*) > 1

{%- endtest -%}
