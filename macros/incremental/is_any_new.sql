{#- is_new of several batch columns that this model keeps by the same names. -#}
{%- macro is_any_new(batches) -%}
    {%- for batch in batches -%}
        {{- 'or ' if not loop.first -}}
        {{ is_new(batch, cursor=batch) }}
        {{- '\n        ' if not loop.last -}}
    {%- endfor -%}
{%- endmacro -%}
