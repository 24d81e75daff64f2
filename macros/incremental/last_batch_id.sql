{%- macro last_batch_id(cursor='_batch_id') -%}
    {%- if execute -%}
        {{- first_row(
            'select coalesce(max(' ~ cursor ~ '), -1) as last_batch_id from ' ~ this
        )[0] -}}
    {%- else -%}
        -1
    {%- endif -%}
{%- endmacro -%}
