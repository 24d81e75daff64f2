{#- The Delta tables of the project's schemas, or of one schema, or the one named
    `schema.table` (or `table`, where one schema only has it). -#}
{%- macro delta_tables(schema=none, table=none) -%}
    {%- set nodes = graph.nodes.values() | list + graph.sources.values() | list -%}
    {%- set schemas = nodes | map(attribute='schema') | map('lower') | unique | sort | list -%}
    {%- set wanted = (table or '') | lower -%}
    {%- if schema and schema | lower not in schemas -%}
        {{- refuse('no schema ' ~ schema ~ ' in this project; there is ' ~ schemas | join(', ')) -}}
    {%- endif -%}
    {#- Of one table Spark reads one entry of the metastore, not all of the schema. -#}
    {%- set pattern = wanted.split('.') | last or '*' -%}
    {%- set found = [] -%}
    {%- for name in schemas if (not schema or name == schema | lower)
        and ('.' not in wanted or wanted.startswith(name ~ '.'))
        and adapter.check_schema_exists(none, name) -%}
        {%- set listing = 'show table extended in ' ~ name ~ ' like ' ~ sql_string(pattern) -%}
        {%- for row in run_query(listing).rows -%}
            {%- set relation = api.Relation.create(schema=name, identifier=row['tableName']) -%}
            {%- if 'Provider: delta' in row['information']
                and (not wanted or wanted in [relation | string, relation.identifier]) -%}
                {%- do found.append(relation) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- if wanted and found | length == 0 -%}
        {{- refuse('no Delta table ' ~ table ~ ' in ' ~ (schema or schemas | join(', '))) -}}
    {%- elif wanted and found | length > 1 -%}
        {{- refuse(table ~ ' is in several schemas: say ' ~ found | join(' or ')) -}}
    {%- endif -%}
    {{- return(found) -}}
{%- endmacro -%}
