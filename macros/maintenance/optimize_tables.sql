{#- dbt run-operation optimize_tables [--args '{schema: gold, table: viewpe, full: true}'] -#}
{%- macro optimize_tables(schema=none, table=none, full=false) -%}
    {%- set rows = [] -%}
    {%- for relation in delta_tables(schema, table) -%}
        {%- set before = table_detail(relation) -%}
        {%- do compact_table(relation, full=full and before.is_clustered) -%}
        {%- set after = table_detail(relation) -%}
        {%- do rows.append([relation, before.files, after.files, human_bytes(after.bytes)]) -%}
    {%- endfor -%}
    {%- do log_table(['table', 'files before', 'files after', 'size'], rows) -%}
{%- endmacro -%}
