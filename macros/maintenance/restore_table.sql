{#- dbt run-operation restore_table --args '{table: gold.average_close, version: 12}'
    dbt run-operation restore_table --args '{table: …, timestamp: 2024-05-31 18:00:00, confirm: true}'

    Brings a table back to an earlier version, or to what it was at a time (UTC). Prints what
    that undoes; acts only with confirm. The restore is a new version and can be undone. -#}
{%- macro restore_table(table=none, version=none, timestamp=none, confirm=false) -%}
    {%- if not table -%}
        {{- refuse('say which table, such as {table: gold.average_close, version: 12}') -}}
    {%- elif (version is none) == (timestamp is none) -%}
        {{- refuse('say either version or timestamp (UTC) to go back to') -}}
    {%- endif -%}
    {%- set relation = delta_tables(table=table)[0] -%}
    {%- set history = run_query('describe history ' ~ relation).rows -%}
    {%- set goal = version if version is not none else version_at(history, timestamp) -%}
    {%- set known = history | map(attribute='version') | map('int') | list -%}
    {%- if goal not in known -%}
        {{- refuse(
            relation ~ ' has no version '
            ~ (version if version is not none else 'as old as ' ~ timestamp ~ ' UTC')
            ~ '; it has ' ~ known[-1] ~ ' (' ~ utc_text(history[-1]['timestamp']) ~ ' UTC) to '
            ~ known[0]
        ) -}}
    {%- endif -%}

    {%- set undone = [] -%}
    {%- for row in history if row['version'] | int > goal -%}
        {%- do undone.append([
            row['version'] | int, utc_text(row['timestamp']), row['operation'], changed_rows(row)
        ]) -%}
    {%- endfor -%}
    {%- if not undone -%}
        {%- do log(relation ~ ' is at version ' ~ goal ~ ': nothing to undo', info=true) -%}
    {%- else -%}
        {%- do log('Going back to version ' ~ goal ~ ' of ' ~ relation ~ ' undoes', info=true) -%}
        {%- do log_table(['version', 'time (UTC)', 'operation', 'rows'], undone) -%}
        {%- if confirm -%}
            {%- do run_query('restore table ' ~ relation ~ ' to version as of ' ~ goal) -%}
            {%- do log(
                'Restored. To take this back: restore_table to version ' ~ known[0], info=true
            ) -%}
        {%- else -%}
            {%- do log('Nothing done yet: pass confirm: true to do it', info=true) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro -%}
