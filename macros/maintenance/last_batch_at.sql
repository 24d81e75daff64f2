{#- The last batch of a feed that the ledger had at a time (UTC), or -1. -#}
{%- macro last_batch_at(ledger, feed, timestamp) -%}
    {%- set version = version_at(run_query('describe history ' ~ ledger).rows, timestamp) -%}
    {%- if version == -1 -%}
        {{- return(-1) -}}
    {%- endif -%}
    {%- set query -%}
        select coalesce(max(batch_id), -1)
        from {{ ledger }} version as of {{ version }}
        where feed = {{ sql_string(feed) }}
    {%- endset -%}
    {{- return(run_query(query).rows[0][0] | int) -}}
{%- endmacro -%}
