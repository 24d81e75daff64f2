{#- The tables that incremental models keep and that depend on some sources, however far below. -#}
{%- macro incremental_below(relations) -%}
    {%- set wanted = relations | map('string') | map('lower') | list -%}
    {%- set below = [] -%}
    {%- for source in graph.sources.values() -%}
        {%- set relation = api.Relation.create(
            schema=source.schema, identifier=source.identifier
        ) -%}
        {%- if relation | string | lower in wanted -%}
            {%- do below.append(source.unique_id) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set found = [] -%}
    {#- Each round goes one model further; no path is longer than there are models. -#}
    {%- set nodes = graph.nodes.values() -%}
    {%- set models = nodes | selectattr('resource_type', 'equalto', 'model') | list -%}
    {%- for _ in models -%}
        {%- for model in models if model.unique_id not in below -%}
            {%- if model.depends_on.nodes | select('in', below) | list -%}
                {%- do below.append(model.unique_id) -%}
                {%- set relation = adapter.get_relation(
                    none, model.schema, (model.alias or model.name) | lower
                ) -%}
                {%- if relation and model.config.materialized == 'incremental' -%}
                    {%- do found.append(relation) -%}
                {%- endif -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{- return(found) -}}
{%- endmacro -%}
