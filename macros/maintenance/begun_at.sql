{#- When the first batch after `last_batch` was planned (UTC text) that bronze tables have rows
    of, as of the versions given with them; none where they have no such batch. -#}
{%- macro begun_at(steps, last_batch) -%}
    {%- set rows = [] -%}
    {%- for step in steps if step.goal >= 0 -%}
        {%- set query -%}
            select _ingested_at
            from {{ step.relation }} version as of {{ step.goal }}
            where _batch_id > {{ last_batch }}
        {%- endset -%}
        {%- do rows.append(query) -%}
    {%- endfor -%}
    {%- if not rows -%}
        {{- return(none) -}}
    {%- endif -%}
    {%- set first = run_query(
        'select min(_ingested_at) from (' ~ rows | join(' union all ') ~ ')'
    ).rows[0][0] -%}
    {{- return(utc_text(first) if first is not none else none) -}}
{%- endmacro -%}
