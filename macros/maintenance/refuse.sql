{#- Ends an operation with one message that says what is wrong and what to do. Of the exceptions
    that dbt offers, this one prints neither frames nor a stack trace. -#}
{%- macro refuse(message) -%}
    {{- exceptions.raise_dependency_error(message) -}}
{%- endmacro -%}
