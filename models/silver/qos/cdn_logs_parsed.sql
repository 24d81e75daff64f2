{#- One row per bronze record of a CDN log, of either shape, typed; with the whole address, which is
    why nobody but silver.cdn_logs may read it. -#}
{{ config(materialized = 'view') }}

with

logs_delivered as (

    select
        data,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _batch_id
    from {{ source('bronze_qos', 'cdn_logs') }}

),

records as (

    -- both shapes in one: a record has the names of one of them
    select
        *,
        from_json(
            data,
            '`date` string, `time` string, `timestamp(ms)` string, `x-edge-location` string,
            `sc-bytes` string, `c-ip` string, `cs-uri-stem` string, `sc-status` string,
            `cs(User-Agent)` string, `x-edge-result-type` string, `x-edge-request-id` string,
            `time-taken` string, `x-edge-response-result-type` string,
            `time-to-first-byte` string, `x-edge-detailed-result-type` string,
            `origin-fbl` string, `DistributionId` string,
            browserfamily string, bytes string, cdn_source string, isbot string,
            location string, logdate string, logtime string, osfamily string,
            requestid string, requestip string, resulttype string, uri string,
            _unreadable string',
            map('columnNameOfCorruptRecord', '_unreadable')
        ) as record
    from logs_delivered

),

fields as (

    select
        md5(data) as content_id,
        record is not null and record._unreadable is null as is_object,
        {{ supplied('record.`x-edge-request-id`') }} as v2_request_id,
        {{ supplied('record.requestid') }} as reference_request_id,
        {{ full_date("coalesce(record.`date`, record.logdate)") }} as log_day,
        {{ supplied('coalesce(record.`time`, record.logtime)') }} as logtime,
        {{ supplied('record.`timestamp(ms)`') }} as epoch_text,
        {{ supplied('coalesce(record.`x-edge-location`, record.location)') }} as location,
        {{ supplied('coalesce(record.`sc-bytes`, record.bytes)') }} as bytes,
        {{ ip_address('coalesce(record.`c-ip`, record.requestip)') }} as address,
        {{ supplied('coalesce(record.`cs-uri-stem`, record.uri)') }} as uri,
        {{ supplied('record.`sc-status`') }} as status_text,
        try_url_decode({{ supplied('record.`cs(User-Agent)`') }}) as user_agent,
        {{ supplied('coalesce(record.`x-edge-result-type`, record.resulttype)') }} as result_type,
        {{ supplied('record.`time-taken`') }} as time_taken_text,
        {{ supplied('record.`x-edge-response-result-type`') }} as response_result_type,
        {{ supplied('record.`time-to-first-byte`') }} as first_byte_text,
        {{ supplied('record.`x-edge-detailed-result-type`') }} as detailed_result_type,
        {{ supplied('record.`origin-fbl`') }} as origin_first_byte_text,
        {{ supplied('record.`DistributionId`') }} as distribution,
        {{ supplied('record.browserfamily') }} as browserfamily,
        {{ supplied('record.osfamily') }} as osfamily,
        {{ supplied('record.cdn_source') }} as cdn_source,
        try_cast(record.isbot as boolean) as isbot,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _batch_id
    from records

),

typed as (

    select
        *,
        coalesce(v2_request_id, reference_request_id) as request_id,
        coalesce(
            timestamp_millis(try_cast(epoch_text as bigint)),
            try_cast(concat(log_day, ' ', logtime) as timestamp)
        ) as requested_at,
        try_cast(bytes as bigint) as sent_bytes,
        -- 000: the viewer was gone before there was a status
        try_cast(status_text as int) as status,
        try_cast(time_taken_text as double) as time_taken_s,
        try_cast(first_byte_text as double) as first_byte_s,
        try_cast(origin_first_byte_text as double) as origin_first_byte_s
    from fields

),

cdn_logs_parsed as (

    select
        coalesce(request_id, concat('none:', content_id)) as requestid,
        coalesce(log_day, cast(requested_at as date), cast(_modified_at as date)) as logdate,
        logtime,
        requested_at,
        location,
        bytes,
        sent_bytes,
        address.ip_key,
        address.network as ip,
        address.kind as ip_kind,
        uri,
        -- the first folder
        regexp_extract(uri, '^/([^/?]+)/', 1) as video_id,
        status,
        upper(result_type) as resulttype,
        response_result_type,
        detailed_result_type,
        -- of an error that the client made: it hung up, or asked for what it may not have
        result_type = 'Error'
        and (
            status = 200
            or status_text = '000'
            or lower(response_result_type) <> 'error'
            or detailed_result_type rlike '^(Client|InvalidRequest|AbortedOrigin)'
        ) as is_client_abort,
        time_taken_s,
        first_byte_s,
        origin_first_byte_s,
        distribution,
        coalesce(browserfamily, {{ browser_family('user_agent') }}) as browserfamily,
        coalesce(osfamily, {{ os_family('user_agent') }}) as osfamily,
        coalesce(isbot, {{ is_bot('user_agent') }}) as isbot,
        coalesce(cdn_source, 'cloudfront') as cdn_source,
        array_compact(array(
            case when not is_object then 'not_an_object' end,
            case when request_id is null then 'missing_request_id' end,
            case when requested_at is null then 'missing_time' end,
            case when location is null then 'missing_location' end,
            case when result_type is null then 'missing_result_type' end,
            case when address.problem is not null then concat('address_', address.problem) end,
            case when address.kind <> 'public' then 'address_not_public' end,
            case
                when
                    {{ any_unreadable({
                        'bytes': 'sent_bytes', 'time_taken_text': 'time_taken_s',
                        'first_byte_text': 'first_byte_s',
                        'origin_first_byte_text': 'origin_first_byte_s',
                        'status_text': 'status', 'epoch_text': 'requested_at',
                    }) }}
                    then 'not_a_number'
            end
        )) as flags,
        _bucket,
        _key,
        _version,
        _ordinal,
        _modified_at,
        _batch_id
    from typed

)

select * from cdn_logs_parsed
