{#- dbt run-operation vacuum_tables [--args '{schema: silver, retention_hours: 336, dry_run: true}']
    dbt run-operation vacuum_tables --args '{table: silver.readings}'

    Deletes data files that no version younger than the retention needs. -#}
{%- macro vacuum_tables(
    retention_hours=168, schema=none, table=none, dry_run=false, force=false
) -%}
    {%- if retention_hours is not number or retention_hours < 0 -%}
        {{- refuse('retention_hours is ' ~ retention_hours ~ '; say a number ≥ 0') -}}
    {%- elif retention_hours < 168 and not force -%}
        {{- refuse(
            'retention_hours ' ~ retention_hours ~ ' is less than 168 (7 days): a '
            ~ 'query, stream or restore_table that still needs the deleted files would fail; '
            ~ 'pass force: true if no one does'
        ) -}}
    {%- endif -%}
    {%- set guard = 'spark.databricks.delta.retentionDurationCheck.enabled' -%}
    {%- do run_query('set ' ~ guard ~ ' = ' ~ (retention_hours >= 168) | string | lower) -%}
    {%- set rows = [] -%}
    {%- for relation in delta_tables(schema, table) -%}
        {%- set statement = 'vacuum ' ~ relation ~ ' retain ' ~ retention_hours ~ ' hours' -%}
        {%- if dry_run -%}
            {%- set listed = run_query(statement ~ ' dry run').rows | length -%}
            {%- do rows.append([relation, listed ~ ('+' if listed == 1000 else '')]) -%}
        {%- else -%}
            {%- do run_query(statement) -%}
            {%- set last = run_query('describe history ' ~ relation ~ ' limit 1').rows[0] -%}
            {%- set metrics = fromjson(last['operationMetrics'] or '{}', {}) -%}
            {%- do rows.append([relation, metrics.get('numDeletedFiles', 'not logged')]) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do run_query('set ' ~ guard ~ ' = true') -%}
    {%- do log_table(['table', 'files to delete' if dry_run else 'files deleted'], rows) -%}
{%- endmacro -%}
