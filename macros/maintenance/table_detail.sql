{#- What Delta's log knows of a table, without reading data. -#}
{%- macro table_detail(relation) -%}
    {%- set row = run_query('describe detail ' ~ relation).rows[0] -%}
    {{- return({
        'files': row['numFiles'] | int,
        'bytes': row['sizeInBytes'] | int,
        'is_clustered': row['clusteringColumns'] not in [none, '', '[]'],
    }) -}}
{%- endmacro -%}
