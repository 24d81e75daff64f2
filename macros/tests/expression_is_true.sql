{#- Rows for which the expression is false; NULL passes, as in a check constraint. On a column,
    the expression goes on where the column's name ends: `expression: "<= high"`. -#}
{%- test expression_is_true(model, expression, column_name='') -%}

select *
from {{ model }}
where not ({{ column_name }} {{ expression }})

{%- endtest -%}
