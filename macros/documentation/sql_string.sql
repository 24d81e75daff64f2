{#- A text as an SQL string literal. -#}
{%- macro sql_string(text) -%}
    {{- return("'" ~ text | replace('\\', '\\\\') | replace("'", "\\'") ~ "'") -}}
{%- endmacro -%}
