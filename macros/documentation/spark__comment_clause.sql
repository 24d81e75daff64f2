{#- The table's comment at its creation; dbt-spark leaves backslashes unescaped. -#}
{%- macro spark__comment_clause() -%}
    {%- if config.persist_relation_docs() -%}
        comment {{ sql_string(model.description | trim) }}
    {%- endif -%}
{%- endmacro -%}
