{#- Whether one of the texts says NaN or Infinity. They must be refused by name: as a double NaN
    passes `> 0`, because Spark orders it above every number. -#}
{%- macro any_not_finite(texts) -%}
    exists(
        array({{ texts | join(', ') }}),
        text -> text rlike '^(?i)[+-]?(nan|inf|infinity)$'
    )
{%- endmacro -%}
