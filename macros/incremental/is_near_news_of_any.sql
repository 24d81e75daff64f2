{#- is_near_news of an input whose several batch columns this model keeps by the same names. -#}
{%- macro is_near_news_of_any(input, input_day, days, batches) -%}
    {%- for batch in batches -%}
        {{- 'or ' if not loop.first -}}
        {{ is_near_news(input, input_day, days, cursor=batch, batch=batch) }}
        {{- '\n        ' if not loop.last -}}
    {%- endfor -%}
{%- endmacro -%}
