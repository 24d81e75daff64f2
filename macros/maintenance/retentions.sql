{#- What is kept for a limited time: every source, seed and model that declares
    `meta: {retention: {column: _ingested_at, days: 30}}`. `expired` is the condition on rows that
    are older; whole days, UTC. -#}
{%- macro retentions(today=none) -%}
    {%- set found = [] -%}
    {#- While dbt parses there is no graph yet. -#}
    {%- set nodes = graph if execute else {'sources': {}, 'nodes': {}} -%}
    {%- set nodes = nodes.sources.values() | list + nodes.nodes.values() | list -%}
    {%- for node in nodes | sort(attribute='unique_id') if node.config.meta.retention -%}
        {%- set retention = node.config.meta.retention -%}
        {%- set days = retention.days -%}
        {%- if retention.column not in node.columns or days is not integer or days < 1 -%}
            {{- refuse(
                node.unique_id ~ ': meta.retention is ' ~ retention
                ~ '; write it as {column: a timestamp or date column of the table, days: 30}'
            ) -}}
        {%- endif -%}
        {%- set from_day = "date'" ~ today ~ "'" if today else 'current_date()' -%}
        {%- do found.append({
            'unique_id': node.unique_id,
            'relation': api.Relation.create(
                schema=node.schema, identifier=node.identifier or node.alias
            ),
            'column': retention.column,
            'days': days,
            'expired': retention.column ~ ' < ' ~ from_day ~ ' - ' ~ days,
        }) -%}
    {%- endfor -%}
    {{- return(found) -}}
{%- endmacro -%}
