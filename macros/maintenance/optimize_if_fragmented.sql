{#- Post-hook: OPTIMIZE, but only when it pays. `describe detail` tells the number of files and
    their total size without reading data, and from these how many must be small: a table of S
    bytes has room for S / small_file_bytes ordinary files, what exceeds that is small. A run
    that brought nothing new asks nothing. -#}
{%- macro optimize_if_fragmented() -%}
    {%- if execute and model.config.materialized in ['incremental', 'stream', 'table'] -%}
        {%- set outcome = load_result('main') -%}
        {%- if outcome and outcome.response.rows_affected != 0 -%}
            {%- set detail = table_detail(this) -%}
            {%- set surplus = detail.files - detail.bytes // (var('small_file_bytes') | int) -%}
            {%- set allowed = config.get(
                'optimize_min_small_files', var('optimize_min_small_files')
            ) | int -%}
            {%- if surplus > allowed -%}
                {%- do compact_table(this) -%}
            {%- endif -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro -%}
