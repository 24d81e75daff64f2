{#- The version that was current at a time (UTC text), or -1 when the history starts later. -#}
{%- macro version_at(history, timestamp) -%}
    {%- set parsed = run_query(
        'select try_cast(' ~ sql_string(timestamp | string) ~ ' as timestamp) as moment'
    ).rows[0][0] -%}
    {%- if parsed is none -%}
        {{- refuse(
            timestamp ~ ' is no timestamp; write it as 2024-05-31 18:00:00'
        ) -}}
    {%- endif -%}
    {%- set moment = utc_text(parsed) -%}
    {%- for row in history if utc_text(row['timestamp']) <= moment -%}
        {{- return(row['version'] | int) -}}
    {%- endfor -%}
    {{- return(-1) -}}
{%- endmacro -%}
