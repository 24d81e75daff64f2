{#- The bucket of a duration in a histogram: each is 5 % wider than the one before it. -#}
{%- macro duration_bucket(duration_ms) -%}
    case
        when {{ duration_ms }} is not null
            then cast(floor(20 * ln(greatest({{ duration_ms }}, 1))) as int)
    end
{%- endmacro -%}
