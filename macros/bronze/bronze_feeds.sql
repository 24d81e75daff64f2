{#- The feeds' bronze tables that exist, from the declared sources: name of the feed (the table's
    name in snake_case, unless `meta.feed` says of which feed it is one of several), relation, the
    columns of its provenance key, and how many days it is kept. What the ledger says of a table
    that does not exist shows as missing. -#}
{%- macro bronze_feeds() -%}
    {%- set feeds = [] -%}
    {%- if execute -%}
        {%- set existing = run_query('show tables in bronze').columns['tableName'].values() -%}
        {%- for source in graph.sources.values() | sort(attribute='unique_id')
            if source.schema == 'bronze'
            and source.source_name not in ('bronze_loaders', 'bronze_ml')
            and source.identifier | lower in existing -%}
            {%- set own = modules.re.sub('(?<=[a-z0-9])(?=[A-Z])', '_', source.identifier) -%}
            {%- do feeds.append({
                'name': source.meta.get('feed', own | lower),
                'relation': api.Relation.create(
                    schema=source.schema, identifier=source.identifier
                ),
                'key': source.meta.grain,
                'days': (source.config.meta.retention or {}).days,
            }) -%}
        {%- endfor -%}
    {%- endif -%}
    {{- return(feeds) -}}
{%- endmacro -%}
