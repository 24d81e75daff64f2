{#- A model that the engine runs as a streaming query (docs/streaming-models.md). Without an engine
    dbt brings the table up to date itself, from the whole input; where an engine writes it, dbt
    leaves it alone. Rows that stand as they should are not merged, so that a run without news
    leaves the table's version. -#}
{%- materialization stream, adapter='spark' -%}
    {%- set existing = load_relation(this) -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set engine = engine_of(existing) if existing is not none and existing.is_delta -%}

    {{- run_hooks(pre_hooks) -}}

    {%- if engine -%}
        {%- if should_full_refresh() -%}
            {%- do exceptions.warn(
                this ~ ' is written by the engine ' ~ engine ~ ', and was not refreshed: '
                ~ 'stop the engine first'
            ) -%}
        {%- endif -%}
        {%- call noop_statement('main', 'OK left to the engine', 'OK', 0) -%}{%- endcall -%}
    {%- else -%}
        {%- set names = model.columns.keys() | list -%}
        {%- set sql = compiled_code -%}
        {%- if existing is not none and existing.is_delta and names | sort
            == adapter.get_columns_in_relation(existing) | map(attribute='name') | sort -%}
            {%- set sql -%}
                select {{ names | join(', ') }} from (
                {{ compiled_code }}
                )
                except
                select {{ names | join(', ') }} from {{ existing }}
            {%- endset -%}
        {%- endif -%}
        {%- do build_or_merge(existing, target, sql) -%}
    {%- endif -%}

    {{- run_hooks(post_hooks) -}}
    {{- return({'relations': [target]}) -}}
{%- endmaterialization -%}
