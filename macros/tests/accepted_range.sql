{#- Values outside the range. NULL passes (not_null guards it), NaN never does: Spark orders it
    above every number, so that a lower bound alone would let it through. -#}
{%- test accepted_range(model, column_name, min_value=none, max_value=none, inclusive=true) -%}
{%- if min_value is none and max_value is none -%}
    {{- exceptions.raise_compiler_error(
        'accepted_range on ' ~ column_name ~ ': give min_value, max_value or both'
    ) -}}
{%- endif -%}

select *
from {{ model }}
where
    cast({{ column_name }} as string) = 'NaN'
    {%- if min_value is not none %}
    or {{ column_name }} {{ '<' if inclusive else '<=' }} {{ min_value }}
    {%- endif %}
    {%- if max_value is not none %}
    or {{ column_name }} {{ '>' if inclusive else '>=' }} {{ max_value }}
    {%- endif %}

{%- endtest -%}
