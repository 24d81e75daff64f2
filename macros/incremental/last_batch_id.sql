{%- macro last_batch_id(cursor='_batch_id') -%}
    {%- if execute -%}
        {{- run_query(
            'select coalesce(max(' ~ cursor ~ '), -1) as last_batch_id from ' ~ this
        ).rows[0][0] -}}
    {%- else -%}
        -1
    {%- endif -%}
{%- endmacro -%}
