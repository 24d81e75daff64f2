{#- Creates a model's table from a query, or merges the query's rows into it, by its config. -#}
{%- macro build_or_merge(existing, target, sql) -%}
    {%- set unique_key = config.get('unique_key') -%}
    {%- set unique_key = [unique_key] if unique_key is string else unique_key -%}
    {%- set batch = target.schema ~ '__' ~ target.identifier ~ '__batch' -%}
    {%- if not unique_key -%}
        {{- exceptions.raise_compiler_error(
            target ~ ' is merged and has no unique_key: say which columns identify a row'
        ) -}}
    {%- endif -%}
    {%- if existing is none or existing.is_view or should_full_refresh() -%}
        {%- if existing is not none and not existing.is_delta -%}
            {%- do adapter.drop_relation(existing) -%}
        {%- endif -%}
        {%- call statement('main') -%}
            {{ create_table_as(False, target, sql) }}
        {%- endcall -%}
        {%- do persist_constraints(target, model) -%}
        {%- do persist_docs(target, model) -%}
    {%- else -%}
        {%- do run_query(create_temporary_view(api.Relation.create(identifier=batch), sql)) -%}
        {#- Lazy: the query for the extent is the one that fills the cache. -#}
        {%- do run_query('cache lazy table ' ~ batch) -%}
        {%- set extent = batch_extent(batch) -%}
        {%- if extent.row_count == 0 -%}
            {%- call noop_statement('main', 'OK nothing new', 'OK', 0) -%}{%- endcall -%}
        {%- else -%}
            {%- set columns = none if var('settled') else process_schema_changes(
                config.get('on_schema_change'), api.Relation.create(identifier=batch), existing
            ) -%}
            {%- set columns = columns or adapter.get_columns_in_relation(existing) -%}
            {%- set names = columns | map(attribute='name') | list -%}
            {#- Where a unit is one row the MERGE itself tells what changes. -#}
            {%- if units_rewritten() and units_rewritten() | sort != unique_key | sort -%}
                {%- set changes = batch ~ '_changes' -%}
                {%- do run_query(create_temporary_view(
                    api.Relation.create(identifier=changes),
                    changes_sql(target, batch, names, extent)
                )) -%}
                {%- do run_query('cache lazy table ' ~ changes) -%}
                {%- set extent = batch_extent(changes) -%}
            {%- endif -%}
            {%- if extent.row_count == 0 -%}
                {%- call noop_statement('main', 'OK nothing new', 'OK', 0) -%}{%- endcall -%}
            {%- else -%}
                {%- call statement('main') -%}
                    {{ merge_sql(target, changes or batch, names, extent) }}
                {%- endcall -%}
            {%- endif -%}
            {%- if changes -%}
                {%- do run_query('drop view if exists ' ~ changes) -%}
            {%- endif -%}
            {%- if not var('settled') -%}
                {%- do persist_docs(target, model) -%}
            {%- endif -%}
        {%- endif -%}
        {#- Its cache goes with it. -#}
        {%- do run_query('drop view if exists ' ~ batch) -%}
    {%- endif -%}
{%- endmacro -%}
