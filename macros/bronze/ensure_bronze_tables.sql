{#- Creates every bronze table that is declared as a source and not in the metastore, so that a
    build on an empty lakehouse is green. With its location named, a table whose files are there
    is registered (Delta refuses that to a table without one). Of a feed with many tables, which its
    loader creates, and of what models of machine learning write, only those are that something in
    this run reads. -#}
{%- macro ensure_bronze_tables() -%}
    {%- set needed_by = ['run', 'build', 'test', 'docs', 'generate', 'snapshot'] -%}
    {%- if execute and not var('settled') and flags.WHICH in needed_by -%}
        {%- do run_query('create schema if not exists bronze') -%}
        {%- set bronze = namespace(folder=none) -%}
        {%- for row in run_query('describe schema bronze').rows if row[0] == 'Location' -%}
            {%- set bronze.folder = row[1] -%}
        {%- endfor -%}
        {%- set read = [] -%}
        {%- for node in graph.nodes.values() if node.unique_id in selected_resources -%}
            {%- do read.extend(node.depends_on.nodes) -%}
        {%- endfor -%}
        {%- for source in graph.sources.values() | sort(attribute='unique_id')
            if source.unique_id in read
            or not (source.meta.get('feed') or source.source_name == 'bronze_ml') -%}
            {%- set name = source.identifier -%}
            {%- set relation = api.Relation.create(schema=source.schema, identifier=name) -%}
            {%- if adapter.get_relation(none, relation.schema, name | lower) is none -%}
                {#- As the loaders create it: the log tells the least and greatest value of every
                    column but the record. -#}
                {%- set counted = [] -%}
                {%- for column in source.columns.values()
                    if source.source_name not in ('bronze_loaders', 'bronze_ml')
                    and (column.name.startswith('_') or column.meta.get('extracted_by')) -%}
                    {%- do counted.append(column.name) -%}
                {%- endfor -%}
                {%- set ddl -%}
                    create table if not exists {{ relation }} (
                        {%- for column in source.columns.values() %}
                        {%- set extracted_by = column.meta.get('extracted_by') %}
                        {{ column.name }} {{ column.data_type }}
                        {%- if extracted_by %} generated always as ({{ extracted_by }}){% endif %}
                        {{- ',' if not loop.last }}
                        {%- endfor %}
                    ) using delta
                    cluster by ({{ source.meta.clustered_by | join(', ') }})
                    location '{{ bronze.folder }}/{{ source.identifier | lower }}'
                    {%- if counted %}
                    tblproperties ('delta.dataSkippingStatsColumns' = '{{ counted | join(',') }}')
                    {%- endif %}
                {%- endset -%}
                {%- do run_query(ddl) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
