{#- dbt run-operation delete_expired [--args '{dry_run: true, today: 2024-06-01}']

    Deletes the rows that are past their table's retention. They leave the disk when
    vacuum_tables takes the files, seven days later. -#}
{%- macro delete_expired(dry_run=false, today=none) -%}
    {%- set rows = [] -%}
    {%- for retention in retentions(today) -%}
        {%- set relation = retention.relation -%}
        {%- if adapter.get_relation(none, relation.schema, relation.identifier | lower) -%}
            {%- set count = 'select count(*) from ' ~ relation ~ ' where ' ~ retention.expired -%}
            {%- set expired = run_query(count).rows[0][0] | int -%}
            {%- if expired and not dry_run -%}
                {%- do run_query(retry_conflicts(
                    'delete from ' ~ relation ~ ' where ' ~ retention.expired
                )) -%}
            {%- endif -%}
            {%- do rows.append([relation, retention.days, retention.column, expired]) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do log_table(
        ['table', 'days', 'by', 'rows past it' if dry_run else 'rows deleted'], rows
    ) -%}
{%- endmacro -%}
