{#- Row count of a cached batch, and the range of each `prune_by` column as SQL literals. -#}
{%- macro batch_extent(batch) -%}
    {%- set prune_by = config.get('prune_by', []) -%}
    {%- set prune_by = [prune_by] if prune_by is string else prune_by -%}
    {%- set unique_key = config.require('unique_key') -%}
    {%- for column in prune_by if column not in unique_key -%}
        {%- do exceptions.raise_compiler_error(
            'prune_by: ' ~ column ~ ' is not part of unique_key ' ~ unique_key
            ~ '; pruning by it would hide rows that must be matched'
        ) -%}
    {%- endfor -%}
    {%- set query -%}
        select
            count(*) as row_count
            {%- for column in prune_by %}
            , typeof(min({{ column }})) as type_{{ loop.index }}
            , cast(min({{ column }}) as string) as min_{{ loop.index }}
            , cast(max({{ column }}) as string) as max_{{ loop.index }}
            {%- endfor %}
        from {{ batch }}
    {%- endset -%}
    {%- set row = run_query(query).rows[0] -%}
    {%- set ranges = {} -%}
    {%- if row[0] > 0 -%}
        {%- for column in prune_by -%}
            {%- set at = 1 + 3 * loop.index0 -%}
            {%- do ranges.update({column: [
                "cast('" ~ row[at + 1] ~ "' as " ~ row[at] ~ ')',
                "cast('" ~ row[at + 2] ~ "' as " ~ row[at] ~ ')',
            ]}) -%}
        {%- endfor -%}
    {%- endif -%}
    {{- return({'row_count': row[0] | int, 'ranges': ranges}) -}}
{%- endmacro -%}
