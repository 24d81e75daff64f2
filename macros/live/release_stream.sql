{#- Operation, for a cluster: takes a table from an engine that ended without letting go of it. -#}
{%- macro release_stream(table) -%}
    {%- set relation = delta_tables(table=table)[0] -%}
    {%- do run_query(
        "alter table " ~ relation ~ " unset tblproperties if exists ('multihop.stream_of')"
    ) -%}
    {%- do log(relation ~ ': dbt writes it from now on', info=true) -%}
{%- endmacro -%}
