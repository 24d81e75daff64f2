{#- The comments of all given columns in one statement: one Delta commit. -#}
{%- macro spark__alter_column_comment(relation, column_dict) -%}
    {%- set comments = [] -%}
    {%- for name, column in column_dict.items() -%}
        {%- do comments.append(
            adapter.quote(name) ~ ' comment ' ~ sql_string(column.description | trim)
        ) -%}
    {%- endfor -%}
    {%- do run_query('alter table ' ~ relation ~ ' alter column ' ~ comments | join(', ')) -%}
{%- endmacro -%}
