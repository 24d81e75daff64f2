{#- Creates or registers every bronze table that is declared as a source and not in the
    metastore yet, so that a build on an empty lakehouse is green. -#}
{%- macro ensure_bronze_tables() -%}
    {%- if execute and flags.WHICH in ['run', 'build', 'test', 'docs', 'generate', 'snapshot'] -%}
        {%- do run_query('create schema if not exists bronze') -%}
        {%- for source in graph.sources.values() | sort(attribute='unique_id') -%}
            {%- set relation = api.Relation.create(schema=source.schema, identifier=source.identifier) -%}
            {%- if adapter.get_relation(none, relation.schema, relation.identifier | lower) is none -%}
                {%- set ddl -%}
                    create table if not exists {{ relation }} (
                        {%- for column in source.columns.values() %}
                        {{ column.name }} {{ column.data_type }}{{ ',' if not loop.last }}
                        {%- endfor %}
                    ) using delta
                    cluster by ({{ source.meta.clustered_by | join(', ') }})
                {%- endset -%}
                {%- do run_query(ddl) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
