{#- The merge strategy as this project needs it, in place of dbt-spark's:

    * the batch is computed once and cached: its row count and key range cost no second run
    * an empty batch sends no MERGE, so the table keeps its version
    * the target is pruned by the batch's own smallest and largest key (`prune_by`)
    * the temporary view carries the schema in its name, so that two models with one alias
      cannot swap rows (tests/adapter/test_duplicate_alias.py) -#}
{%- materialization incremental, adapter='spark' -%}
    {%- set existing = load_relation(this) -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set batch = this.schema ~ '__' ~ this.identifier ~ '__batch' -%}
    {%- if not config.get('unique_key') -%}
        {{- exceptions.raise_compiler_error(
            this ~ ' is incremental and has no unique_key: say which columns identify a row'
        ) -}}
    {%- endif -%}

    {{- run_hooks(pre_hooks) -}}

    {%- if existing is none or existing.is_view or should_full_refresh() -%}
        {%- if existing is not none and not existing.is_delta -%}
            {%- do adapter.drop_relation(existing) -%}
        {%- endif -%}
        {%- call statement('main') -%}
            {{ create_table_as(False, target, compiled_code) }}
        {%- endcall -%}
        {%- do persist_constraints(target, model) -%}
        {%- do persist_docs(target, model) -%}
    {%- else -%}
        {%- do run_query(create_temporary_view(api.Relation.create(identifier=batch), compiled_code)) -%}
        {#- Lazy: the query for the extent is the one that fills the cache. -#}
        {%- do run_query('cache lazy table ' ~ batch) -%}
        {%- set extent = batch_extent(batch) -%}
        {%- if extent.row_count == 0 -%}
            {%- call noop_statement('main', 'OK nothing new', 'OK', 0) -%}{%- endcall -%}
        {%- else -%}
            {%- set columns = process_schema_changes(
                config.get('on_schema_change'), api.Relation.create(identifier=batch), existing
            ) or adapter.get_columns_in_relation(existing) -%}
            {%- call statement('main') -%}
                {{ merge_sql(target, batch, columns | map(attribute='name') | list, extent) }}
            {%- endcall -%}
            {%- do persist_docs(target, model) -%}
        {%- endif -%}
        {#- Its cache goes with it. -#}
        {%- do run_query('drop view if exists ' ~ batch) -%}
    {%- endif -%}

    {{- run_hooks(post_hooks) -}}
    {{- return({'relations': [target]}) -}}
{%- endmaterialization -%}
