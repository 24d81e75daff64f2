{#- The feeds' bronze tables, from the declared sources: name of the feed (the table's name in
    snake_case), relation, the columns of its provenance key, and how many days it is kept. -#}
{%- macro bronze_feeds() -%}
    {%- set feeds = [] -%}
    {%- if execute -%}
        {%- for source in graph.sources.values() | sort(attribute='unique_id') -%}
            {%- if source.schema == 'bronze' and source.source_name != 'bronze_loaders' -%}
                {%- do feeds.append({
                    'name': modules.re.sub('(?<=[a-z0-9])(?=[A-Z])', '_', source.identifier) | lower,
                    'relation': api.Relation.create(
                        schema=source.schema, identifier=source.identifier
                    ),
                    'key': source.meta.grain,
                    'days': (source.config.meta.retention or {}).days,
                }) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{- return(feeds) -}}
{%- endmacro -%}
